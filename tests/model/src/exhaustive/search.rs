//! Breadth first through every state there is, and back again to see that from each of them every
//! order can still end.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use orders::domain::State;

use super::config::Config;
use super::outcome::{Counterexample, Outcome};
use super::share::{Label, Orders, Share, Step, Stock};
use crate::services::Services;
use crate::situation::{Seen, Situation};

/// As many orders as fit into a state's key.
pub(super) const MAX_ORDERS: usize = 3;

/// The levels and the number of each order's share, in ascending order: orders are alike, so states
/// that differ only in which order is which are one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key(u128);

/// What can happen to a share, without what leads nowhere and without repetitions.
struct Onward {
    share: u32,
    stock: Stock,
}

struct Known {
    share: Share,
    class: Class,
}

/// What the whole has to know about one order.
#[derive(Clone, Copy)]
struct Class {
    holds: i8,
    under_way: bool,
    confirmed: bool,
    ended: bool,
    refused_units: bool,
    gave_units_back: bool,
}

pub(super) struct Search<'a, S> {
    orders: Orders<'a, S>,
    config: Config,
    shares: Vec<Known>,
    numbers: HashMap<Share, u32, Mixing>,
    onward: Vec<Box<[Onward]>>,
    /// Where in `onward`, by share and levels.
    worked_out: HashMap<(u32, Stock), u32, Mixing>,
    states: Vec<Key>,
    parents: Vec<u32>,
    found: HashMap<Key, u32, Mixing>,
    /// The successors of each state, one after another, and where each begins.
    successors: Vec<u32>,
    begins: Vec<usize>,
    seen: Seen,
    counterexample: Option<Counterexample>,
}

impl<'a, S: Services> Search<'a, S> {
    pub fn new(services: &'a S, config: Config) -> Self {
        Self {
            orders: Orders::new(services, config),
            config,
            shares: Vec::new(),
            numbers: HashMap::default(),
            onward: Vec::new(),
            worked_out: HashMap::default(),
            states: Vec::new(),
            parents: Vec::new(),
            found: HashMap::default(),
            successors: Vec::new(),
            begins: Vec::new(),
            seen: Seen::NOTHING,
            counterexample: None,
        }
    }

    pub fn run(mut self) -> Outcome {
        let begun = Instant::now();
        let depth = self.forward();
        if self.counterexample.is_none() {
            self.backward();
        }
        let missed = Situation::ALL.iter().copied().filter(|situation| {
            !self.seen.contains(*situation) && self.config.can_show(*situation)
        });
        Outcome {
            config: self.config,
            shares: self.shares.len(),
            states: self.states.len(),
            transitions: self.successors.len(),
            depth,
            time: begun.elapsed(),
            seen: Situation::ALL
                .iter()
                .copied()
                .filter(|s| self.seen.contains(*s))
                .collect(),
            missed: missed.collect(),
            counterexample: self.counterexample,
        }
    }

    /// Every state, the nearest first, so that a counterexample is a shortest one. Gives the depth.
    fn forward(&mut self) -> usize {
        let stock = Stock {
            available: self.config.units,
            held: 0,
        };
        let nothing = self.number(Orders::<S>::nothing());
        let first = [nothing; MAX_ORDERS];
        self.enter(pack(stock, first, self.config.orders), 0);
        let mut depth = 0;
        let mut level_ends = self.states.len();
        let mut at = 0;
        while at < self.states.len() && self.counterexample.is_none() {
            if at == level_ends {
                depth += 1;
                level_ends = self.states.len();
            }
            self.expand(at);
            at += 1;
        }
        self.begins.push(self.successors.len());
        depth
    }

    fn expand(&mut self, at: usize) {
        let (stock, shares) = unpack(self.states[at], self.config.orders);
        let begins = self.successors.len();
        self.begins.push(begins);
        for place in 0..self.config.orders {
            let share = shares[place];
            // An order's twin can do nothing the order cannot.
            if place > 0 && shares[place - 1] == share {
                continue;
            }
            let row = self.work_out(share, stock, at);
            if self.counterexample.is_some() {
                return;
            }
            for step in 0..self.onward[row].len() {
                let onward = &self.onward[row][step];
                let mut next = shares;
                next[place] = onward.share;
                let key = pack(onward.stock, next, self.config.orders);
                let number = match self.found.get(&key) {
                    Some(number) => *number,
                    None => self.enter(key, at),
                };
                self.successors.push(number);
            }
        }
        let mine = &mut self.successors[begins..];
        mine.sort_unstable();
        let mut kept = begins;
        for read in begins..self.successors.len() {
            if read == begins || self.successors[read] != self.successors[kept - 1] {
                self.successors[kept] = self.successors[read];
                kept += 1;
            }
        }
        self.successors.truncate(kept);
    }

    /// Asks production what can happen to a share, once.
    fn work_out(&mut self, number: u32, stock: Stock, at: usize) -> usize {
        if let Some(row) = self.worked_out.get(&(number, stock)) {
            return *row as usize;
        }
        let share = self.shares[number as usize].share;
        let mut onward: Vec<Onward> = Vec::new();
        for step in self.orders.steps(share, stock) {
            self.seen = self.seen.and_all(step.seen);
            if let Some(why) = &step.broken {
                self.report(at, Some(&step), why.clone());
                return 0;
            }
            let next = self.number(step.share);
            let known = onward
                .iter()
                .any(|other| other.share == next && other.stock == step.stock);
            let leads_nowhere = next == number && step.stock == stock;
            if !known && !leads_nowhere {
                onward.push(Onward {
                    share: next,
                    stock: step.stock,
                });
            }
        }
        let row = self.onward.len();
        self.onward.push(onward.into());
        self.worked_out.insert((number, stock), row as u32);
        row
    }

    fn number(&mut self, share: Share) -> u32 {
        if let Some(number) = self.numbers.get(&share) {
            return *number;
        }
        let ended = self.orders.ended(share);
        let holds = self.orders.holds(share);
        let class = Class {
            holds,
            under_way: self.orders.is_under_way(share),
            confirmed: ended == Some(State::Confirmed),
            ended: ended.is_some(),
            refused_units: self.orders.was_refused_units(share),
            gave_units_back: ended.is_some() && self.orders.gave_units_back(share),
        };
        let number = u32::try_from(self.shares.len()).expect("there are fewer shares");
        self.shares.push(Known { share, class });
        self.numbers.insert(share, number);
        number
    }

    /// A state nobody has been in: what must always be true is tried here.
    fn enter(&mut self, key: Key, from: usize) -> u32 {
        let number = u32::try_from(self.states.len()).expect("there are fewer states");
        self.states.push(key);
        self.parents.push(from as u32);
        self.found.insert(key, number);
        let (stock, shares) = unpack(key, self.config.orders);
        let shares = &shares[..self.config.orders];
        let class = |share: &u32| self.shares[*share as usize].class;
        let held: i8 = shares.iter().map(|share| class(share).holds).sum();
        let count = |is: fn(&Class) -> bool| shares.iter().map(class).filter(is).count();
        let confirmed = count(|class| class.confirmed);
        let ended = count(|class| class.ended);
        for (situation, is) in [
            (
                Situation::SoldOnce,
                confirmed > 0 && count(|class| class.refused_units) > 0,
            ),
            (
                Situation::SoldAgain,
                confirmed > 0 && count(|class| class.gave_units_back) > 0,
            ),
            (
                Situation::NobodyBought,
                ended == shares.len() && confirmed == 0,
            ),
            (Situation::AllBought, confirmed == shares.len()),
        ] {
            self.seen = self.seen.and_all(Seen::when(is, situation));
        }
        let balanced = stock.available + stock.held == self.config.units && held == stock.held;
        let why = if stock.available < 0 || stock.held < 0 {
            Some(format!("oversold: {stock:?}"))
        } else if !balanced {
            Some(format!(
                "units are lost or made: {stock:?}, and reservations hold {held}"
            ))
        } else {
            shares
                .iter()
                .find_map(|share| self.orders.broken(self.shares[*share as usize].share))
        };
        if let Some(why) = why {
            self.report(number as usize, None, why);
        }
        number
    }

    /// From every state there is a way on which every order that was placed ends. A crash loses
    /// what would have been sent and no state is left out, so this includes every state from which
    /// only the sweeper, or the customer, can get things going again.
    fn backward(&mut self) {
        let count = self.states.len();
        let mut can_end: Vec<bool> = (0..count)
            .map(|state| {
                let (_, shares) = unpack(self.states[state], self.config.orders);
                let shares = &shares[..self.config.orders];
                !shares
                    .iter()
                    .any(|share| self.shares[*share as usize].class.under_way)
            })
            .collect();
        // Successors mostly come later in breadth-first order, so going backwards a few passes do.
        loop {
            let mut changed = false;
            for state in (0..count).rev() {
                if !can_end[state] {
                    let next = &self.successors[self.begins[state]..self.begins[state + 1]];
                    can_end[state] = next.iter().any(|next| can_end[*next as usize]);
                    changed |= can_end[state];
                }
            }
            if !changed {
                break;
            }
        }
        if let Some(stuck) = can_end.iter().position(|can| !can) {
            self.report(stuck, None, "from here not every order can end".to_owned());
        }
    }

    fn report(&mut self, state: usize, last: Option<&Step>, why: String) {
        if self.counterexample.is_some() {
            return;
        }
        let mut path = vec![state];
        while let Some(at) = path.last().copied().filter(|at| *at != 0) {
            path.push(self.parents[at] as usize);
        }
        path.reverse();
        let mut trace: Vec<String> = path
            .windows(2)
            .map(|pair| self.tell(self.states[pair[0]], self.states[pair[1]]))
            .collect();
        if let Some(step) = last {
            trace.push(self.tell_step(step.label, step.share, step.stock));
        }
        self.counterexample = Some(Counterexample { why, trace });
    }

    /// What led from one state to the next.
    fn tell(&mut self, from: Key, to: Key) -> String {
        let (stock, shares) = unpack(from, self.config.orders);
        for place in 0..self.config.orders {
            let share = self.shares[shares[place] as usize].share;
            for step in self.orders.steps(share, stock) {
                let Some(number) = self.numbers.get(&step.share) else {
                    continue;
                };
                let mut next = shares;
                next[place] = *number;
                if pack(step.stock, next, self.config.orders) == to {
                    return self.tell_step(step.label, step.share, step.stock);
                }
            }
        }
        "something happens".to_owned()
    }

    fn tell_step(&self, label: Label, share: Share, stock: Stock) -> String {
        let said = self.orders.describe(label, share);
        format!("{said}; {} available, {} held", stock.available, stock.held)
    }
}

fn pack(stock: Stock, mut shares: [u32; MAX_ORDERS], orders: usize) -> Key {
    let shares = &mut shares[..orders];
    shares.sort_unstable();
    let levels = u128::from(stock.available as u8) << 8 | u128::from(stock.held as u8);
    Key(shares
        .iter()
        .fold(levels, |key, share| key << 32 | u128::from(*share)))
}

fn unpack(key: Key, orders: usize) -> (Stock, [u32; MAX_ORDERS]) {
    let mut shares = [0; MAX_ORDERS];
    let mut rest = key.0;
    for place in (0..orders).rev() {
        shares[place] = rest as u32;
        rest >>= 32;
    }
    let stock = Stock {
        available: (rest >> 8) as u8 as i8,
        held: rest as u8 as i8,
    };
    (stock, shares)
}

/// SplitMix64's output function: every bit of the input reaches every bit of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The keys are the model's own numbers, so nobody can choose them to collide.
type Mixing = BuildHasherDefault<Mixer>;

#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0.rotate_left(5) ^ value);
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64(value as u64);
        self.write_u64((value >> 64) as u64);
    }
}
