//! The envelope of every message, command or reply.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::failure::Failure;
use crate::object::Object;
use crate::problem::FieldError;
use crate::{Context, json};

/// The payload of a message. Its type and version name its contract.
pub trait Payload: Serialize {
    /// Commands are imperative (`ReserveStock`), events past tense (`StockReserved`).
    const TYPE: &'static str;
    /// Increases with a change that older receivers cannot read.
    const VERSION: u32 = 1;
}

/// A message as it arrives.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope {
    /// The same for every copy of a message.
    pub id: Uuid,
    /// The payload's [`Payload::TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The payload's [`Payload::VERSION`].
    pub version: u32,
    /// The record that the message is about: in Waybill, an order.
    #[serde(rename = "order_id")]
    pub subject: Uuid,
    /// When it was sent.
    pub time: Timestamp,
    /// The W3C trace context of the call that sent it.
    pub traceparent: Option<String>,
    /// The injected fault, for stages that allow it.
    pub fault: Option<String>,
    data: Box<RawValue>,
}

impl Envelope {
    /// Reads a queue message's body. It ignores unknown fields, because a sender may be newer.
    pub fn parse(body: &str) -> Result<Self, Failure> {
        let read: Result<Object<Self>, _> = json::read(body);
        read.map(|Object(envelope)| envelope).map_err(|mistake| {
            let FieldError { name, detail, .. } = mistake;
            let subject = if name.is_empty() { "it" } else { &name };
            Failure::unprocessable(format!(
                "the message is not an envelope: {subject} {detail}"
            ))
        })
    }

    /// The payload, as the type that the receiver expects.
    pub fn open<T: Payload + DeserializeOwned>(&self) -> Result<T, Failure> {
        if self.kind != T::TYPE || self.version != T::VERSION {
            return Err(Failure::unprocessable(format!(
                "expected {} version {}, got {} version {}",
                T::TYPE,
                T::VERSION,
                self.kind,
                self.version
            )));
        }
        let read: Result<Object<T>, _> = json::read(self.data.get());
        read.map(|Object(data)| data).map_err(|mistake| {
            let FieldError { name, detail, .. } = mistake;
            let kind = &self.kind;
            Failure::unprocessable(format!("in {kind}, /data{name} {detail}"))
        })
    }

    /// The failure for a message type that the queue does not handle.
    pub fn unknown(&self) -> Failure {
        Failure::unprocessable(format!("this queue does not handle {}", self.kind))
    }
}

#[derive(Serialize)]
struct Outbound<'a, T> {
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'static str,
    version: u32,
    #[serde(rename = "order_id")]
    subject: Uuid,
    time: String,
    traceparent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    data: &'a T,
}

/// The body of a message. Its id derives from the subject and the type. So every copy of a message has
/// the same id, from every function that sends it.
pub(crate) fn encode<T: Payload>(
    subject: Uuid,
    payload: &T,
    fault: Option<&'static str>,
    context: &Context,
) -> String {
    let outbound = Outbound {
        id: Uuid::new_v5(&subject, T::TYPE.as_bytes()),
        kind: T::TYPE,
        version: T::VERSION,
        subject,
        time: format!("{:.3}", context.now),
        traceparent: &context.traceparent,
        fault,
        data: payload,
    };
    serde_json::to_string(&outbound).expect("a payload is plain JSON")
}
