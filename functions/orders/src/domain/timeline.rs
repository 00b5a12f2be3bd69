//! The order's timeline: every request of a step, every answer, every compensation.

use jiff::Timestamp;

/// An entry of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    pub event: TimelineEvent,
    /// The attempt's number, for requests of a step.
    pub attempt: Option<u32>,
    pub detail: Option<String>,
}

macro_rules! timeline_events {
    ($($variant:ident => $name:literal,)*) => {
        /// The kinds of events. Their names are part of the API and do not change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TimelineEvent { $($variant,)* }

        impl TimelineEvent {
            pub const ALL: &[TimelineEvent] = &[$(TimelineEvent::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(TimelineEvent::$variant => $name,)* }
            }
        }
    };
}

timeline_events! {
    OrderPlaced => "order_placed",
    FaultsInjected => "rehearsal_begun",
    VerifyUserRequested => "verify_user_requested",
    UserVerified => "user_verified",
    UserRefused => "user_refused",
    ReserveStockRequested => "reserve_stock_requested",
    StockReserved => "stock_reserved",
    StockRefused => "stock_refused",
    ChargePaymentRequested => "charge_payment_requested",
    PaymentCharged => "payment_charged",
    PaymentDeclined => "payment_declined",
    OrderConfirmed => "order_confirmed",
    CancelRequested => "cancel_requested",
    PriceChanged => "price_changed",
    StepTimedOut => "step_timed_out",
    RefundPaymentRequested => "refund_payment_requested",
    PaymentRefunded => "payment_refunded",
    ReleaseStockRequested => "release_stock_requested",
    StockReleased => "stock_released",
    OrderParked => "order_parked",
    RetryRequested => "retry_requested",
    RefundAbandoned => "refund_abandoned",
    ReleaseAbandoned => "release_abandoned",
    OrderRejected => "order_rejected",
    OrderCancelled => "order_cancelled",
}

impl TimelineEvent {
    /// Whether the detail names an operator and a reason, which customers may not read.
    pub fn is_by_operator(self) -> bool {
        matches!(
            self,
            TimelineEvent::RetryRequested
                | TimelineEvent::RefundAbandoned
                | TimelineEvent::ReleaseAbandoned
        )
    }

    pub fn parse(name: &str) -> Option<Self> {
        let mut known = Self::ALL.iter().copied();
        known.find(|event| event.as_str() == name)
    }
}
