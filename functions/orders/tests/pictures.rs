//! The diagrams in ARCHITECTURE.md, drawn from the golden transitions and from a recorded timeline.
//! `UPDATE_EXPECT=1 cargo test -p orders pictures` draws them again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use orders::domain::{Command, State};
use serde_json::{Value, json};

use crate::samples::ANN;
use crate::world::{World, about, body, customer, id_of, posting};

const TRANSITIONS: &str = include_str!("golden/transitions.txt");

/// Compares the diagram between two markers of ARCHITECTURE.md.
fn check(name: &str, diagram: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&begin).expect("the marker before it");
    let (drawn, after) = rest.split_once(&end).expect("the marker after it");
    let diagram = format!("```mermaid\n{diagram}```\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, format!("{before}{begin}{diagram}{end}{after}")).unwrap();
    } else {
        assert_eq!(drawn, diagram, "the {name} diagram is out of date");
    }
}

#[test]
fn the_state_diagram_shows_every_transition() {
    let mut events: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut edges = Vec::new();
    for line in TRANSITIONS.lines() {
        let Some((from, outcome)) = line.split_once(" -> advance to ") else {
            continue;
        };
        let (from, event) = from.split_once(" + ").unwrap();
        let event = event.split(',').next().unwrap();
        let name = |state: &'static str| state.split(['(', ' ', ':']).next().unwrap();
        let (from, to) = (name(from), name(outcome));
        if from == to {
            continue;
        }
        let known = events.entry((from, to)).or_insert_with(|| {
            edges.push((from, to));
            Vec::new()
        });
        if !known.contains(&event) {
            known.push(event);
        }
    }
    let mut diagram = "stateDiagram-v2\n    [*] --> Reserving: placed\n".to_owned();
    diagram.push_str("    [*] --> Verifying: placed, users did not answer\n");
    for edge in &edges {
        let (from, to) = edge;
        writeln!(diagram, "    {from} --> {to}: {}", events[edge].join(", ")).unwrap();
    }
    for state in ["Confirmed", "Rejected", "Cancelled"] {
        writeln!(diagram, "    {state} --> [*]").unwrap();
    }
    check("states", &diagram);
}

/// An order that is placed, confirmed and then cancelled by its customer.
async fn recorded() -> Vec<Value> {
    let world = World::new();
    let ann = customer(ANN);
    let lines = json!([{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}]);
    let order = json!({"lines": lines, "payment_method": "pm_card_visa"});
    let placed = world.place(&ann, posting(&order, None)).await;
    let id = id_of(&placed);
    world.answer_until(id, State::Confirmed).await;
    assert_eq!(world.cancel(&ann, about(id.0)).await.status, 202);
    world.answer_until(id, State::Cancelled).await;
    let timeline = world.timeline(&ann, about(id.0)).await;
    body(&timeline)["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_sequence_diagram_shows_a_recorded_timeline() {
    let mut diagram =
        "sequenceDiagram\n    participant customer\n    participant orders\n".to_owned();
    for participant in ["users", "inventory", "payments"] {
        writeln!(diagram, "    participant {participant}").unwrap();
    }
    for entry in recorded().await {
        let event = entry["event"].as_str().unwrap();
        let arrow = Command::all().find_map(|command| {
            let (action, to) = (command.action(), command.step().participant.as_str());
            let message = action.message;
            (action.requested.as_str() == event)
                .then(|| format!("orders->>{to}: {message}"))
                .or_else(|| {
                    (action.done.as_str() == event).then(|| format!("{to}-->>orders: {event}"))
                })
        });
        let arrow = arrow.unwrap_or_else(|| match event {
            "order_placed" => "customer->>orders: POST /api/v1/orders".to_owned(),
            "cancel_requested" => "customer->>orders: POST /api/v1/orders/{id}/cancel".to_owned(),
            ended => format!("Note over orders: {ended}"),
        });
        writeln!(diagram, "    {arrow}").unwrap();
    }
    check("sequence", &diagram);
}
