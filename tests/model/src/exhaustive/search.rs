//! A breadth-first search of all states, then a backward pass: from each state, every order must be
//! able to end.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use orders::domain::State;

use super::config::Config;
use super::local_state::{At, LocalState, Orders, Step, Stock};
use super::outcome::{Counterexample, Outcome};
use crate::coverage::{self, CoverageGoal, Covered};
use crate::services::Services;

/// The number of orders that fit into a state's key.
pub(super) const MAX_ORDERS: usize = 3;

/// The levels and the sorted numbers of the local states. Orders are equal, so states that differ
/// only in their order are one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key(u128);

/// A transition of a local state, without repetitions and self-loops.
struct Move {
    local: u32,
    stock: Stock,
}

struct KnownLocal {
    local: LocalState,
    summary: Summary,
}

/// The facts about one order that the global checks need.
#[derive(Clone, Copy)]
struct Summary {
    holds: i8,
    in_flight: bool,
    confirmed: bool,
    ended: bool,
    refused_units: bool,
    gave_units_back: bool,
}

pub(super) struct Search<'a, S> {
    orders: Orders<'a, S>,
    config: Config,
    locals: Vec<KnownLocal>,
    numbers: HashMap<LocalState, u32, Mixing>,
    moves: Vec<Box<[Move]>>,
    /// The index in `moves`, by local state and levels.
    move_rows: HashMap<(u32, Stock), u32, Mixing>,
    states: Vec<Key>,
    parents: Vec<u32>,
    found: HashMap<Key, u32, Mixing>,
    /// The successors of each state, concatenated, and the start of each.
    successors: Vec<u32>,
    begins: Vec<usize>,
    covered: Covered,
    counterexample: Option<Counterexample>,
}

impl<'a, S: Services> Search<'a, S> {
    pub fn new(services: &'a S, config: Config) -> Self {
        Self {
            orders: Orders::new(services, config),
            config,
            locals: Vec::new(),
            numbers: HashMap::default(),
            moves: Vec::new(),
            move_rows: HashMap::default(),
            states: Vec::new(),
            parents: Vec::new(),
            found: HashMap::default(),
            successors: Vec::new(),
            begins: Vec::new(),
            covered: Covered::NOTHING,
            counterexample: None,
        }
    }

    pub fn run(mut self) -> Outcome {
        let begun = Instant::now();
        let depth = self.forward();
        if self.counterexample.is_none() {
            self.backward();
        }
        let missed = coverage::ALL
            .iter()
            .copied()
            .filter(|goal| !self.covered.contains(*goal) && self.config.can_cover(*goal));
        Outcome {
            config: self.config,
            locals: self.locals.len(),
            states: self.states.len(),
            transitions: self.successors.len(),
            depth,
            time: begun.elapsed(),
            covered: coverage::ALL
                .iter()
                .copied()
                .filter(|s| self.covered.contains(*s))
                .collect(),
            missed: missed.collect(),
            counterexample: self.counterexample,
        }
    }

    /// Visits every state, nearest first, so that a counterexample is shortest. Returns the depth.
    fn forward(&mut self) -> usize {
        let stock = Stock {
            available: self.config.units,
            held: 0,
        };
        let nothing = self.intern(Orders::<S>::nothing());
        let first = [nothing; MAX_ORDERS];
        self.add_state(pack(stock, first, self.config.orders), 0);
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
        let (stock, locals) = unpack(self.states[at], self.config.orders);
        let begins = self.successors.len();
        self.begins.push(begins);
        for place in 0..self.config.orders {
            let local = locals[place];
            // An equal order has the same moves.
            if place > 0 && locals[place - 1] == local {
                continue;
            }
            let row = self.moves_of(local, stock, at);
            if self.counterexample.is_some() {
                return;
            }
            for step in 0..self.moves[row].len() {
                let moves = &self.moves[row][step];
                let mut next = locals;
                next[place] = moves.local;
                let key = pack(moves.stock, next, self.config.orders);
                let number = match self.found.get(&key) {
                    Some(number) => *number,
                    None => self.add_state(key, at),
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

    /// Computes the moves of a local state once, with the production code.
    fn moves_of(&mut self, number: u32, stock: Stock, at: usize) -> usize {
        if let Some(row) = self.move_rows.get(&(number, stock)) {
            return *row as usize;
        }
        let local = self.locals[number as usize].local;
        let mut moves: Vec<Move> = Vec::new();
        for step in self.orders.steps(At { local, stock }) {
            self.covered = self.covered.and_all(step.covered);
            if let Some(why) = &step.violation {
                self.report(at, Some(&step), why.clone());
                return 0;
            }
            let next = self.intern(step.at.local);
            let known = moves
                .iter()
                .any(|other| other.local == next && other.stock == step.at.stock);
            let leads_nowhere = next == number && step.at.stock == stock;
            if !known && !leads_nowhere {
                moves.push(Move {
                    local: next,
                    stock: step.at.stock,
                });
            }
        }
        let row = self.moves.len();
        self.moves.push(moves.into());
        self.move_rows.insert((number, stock), row as u32);
        row
    }

    fn intern(&mut self, local: LocalState) -> u32 {
        if let Some(number) = self.numbers.get(&local) {
            return *number;
        }
        let ended = self.orders.ended(local);
        let holds = self.orders.holds(local);
        let summary = Summary {
            holds,
            in_flight: self.orders.is_in_flight(local),
            confirmed: ended == Some(State::Confirmed),
            ended: ended.is_some(),
            refused_units: self.orders.was_refused_units(local),
            gave_units_back: ended.is_some() && self.orders.gave_units_back(local),
        };
        let number = u32::try_from(self.locals.len()).expect("fewer local states");
        self.locals.push(KnownLocal { local, summary });
        self.numbers.insert(local, number);
        number
    }

    /// Adds a new state and checks its invariants.
    fn add_state(&mut self, key: Key, from: usize) -> u32 {
        let number = u32::try_from(self.states.len()).expect("fewer states");
        self.states.push(key);
        self.parents.push(from as u32);
        self.found.insert(key, number);
        let (stock, locals) = unpack(key, self.config.orders);
        let locals = &locals[..self.config.orders];
        let summary = |local: &u32| self.locals[*local as usize].summary;
        let held: i8 = locals.iter().map(|local| summary(local).holds).sum();
        let count = |is: fn(&Summary) -> bool| locals.iter().map(summary).filter(is).count();
        let confirmed = count(|summary| summary.confirmed);
        let ended = count(|summary| summary.ended);
        for (goal, is) in [
            (
                CoverageGoal::SoldOnce,
                confirmed > 0 && count(|summary| summary.refused_units) > 0,
            ),
            (
                CoverageGoal::SoldAgain,
                confirmed > 0 && count(|summary| summary.gave_units_back) > 0,
            ),
            (
                CoverageGoal::NoneConfirmed,
                ended == locals.len() && confirmed == 0,
            ),
            (CoverageGoal::AllConfirmed, confirmed == locals.len()),
        ] {
            self.covered = self.covered.and_all(Covered::when(is, goal));
        }
        let balanced = stock.available + stock.held == self.config.units && held == stock.held;
        let why = if stock.available < 0 || stock.held < 0 {
            Some(format!("oversold: {stock:?}"))
        } else if !balanced {
            Some(format!(
                "units were lost or created: {stock:?}, but reservations hold {held}"
            ))
        } else {
            locals
                .iter()
                .find_map(|local| self.orders.violation(self.locals[*local as usize].local))
        };
        if let Some(why) = why {
            self.report(number as usize, None, why);
        }
        number
    }

    /// Checks that every placed order can end, from every state. Crashes lose messages, so this
    /// covers the states that only the sweeper or the customer can leave.
    fn backward(&mut self) {
        let count = self.states.len();
        let mut can_end: Vec<bool> = (0..count)
            .map(|state| {
                let (_, locals) = unpack(self.states[state], self.config.orders);
                let locals = &locals[..self.config.orders];
                !locals
                    .iter()
                    .any(|local| self.locals[*local as usize].summary.in_flight)
            })
            .collect();
        // Successors mostly come later in breadth-first order, so few backward passes are enough.
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
            self.report(
                stuck,
                None,
                "from this state not every order can end".to_owned(),
            );
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
            .map(|pair| self.describe_transition(self.states[pair[0]], self.states[pair[1]]))
            .collect();
        if let Some(step) = last {
            trace.push(self.orders.describe(step));
        }
        self.counterexample = Some(Counterexample { why, trace });
    }

    fn describe_transition(&mut self, from: Key, to: Key) -> String {
        let (stock, locals) = unpack(from, self.config.orders);
        for place in 0..self.config.orders {
            let local = self.locals[locals[place] as usize].local;
            for step in self.orders.steps(At { local, stock }) {
                let Some(number) = self.numbers.get(&step.at.local) else {
                    continue;
                };
                let mut next = locals;
                next[place] = *number;
                if pack(step.at.stock, next, self.config.orders) == to {
                    return self.orders.describe(&step);
                }
            }
        }
        "an unknown event".to_owned()
    }
}

fn pack(stock: Stock, mut locals: [u32; MAX_ORDERS], orders: usize) -> Key {
    let locals = &mut locals[..orders];
    locals.sort_unstable();
    let levels = u128::from(stock.available as u8) << 8 | u128::from(stock.held as u8);
    Key(locals
        .iter()
        .fold(levels, |key, local| key << 32 | u128::from(*local)))
}

fn unpack(key: Key, orders: usize) -> (Stock, [u32; MAX_ORDERS]) {
    let mut locals = [0; MAX_ORDERS];
    let mut rest = key.0;
    for place in (0..orders).rev() {
        locals[place] = rest as u32;
        rest >>= 32;
    }
    let stock = Stock {
        available: (rest >> 8) as u8 as i8,
        held: rest as u8 as i8,
    };
    (stock, locals)
}

/// SplitMix64's output function.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The keys are the model's own numbers, so no caller can force collisions.
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
