//! The next step for each kind of finding. `{id}` stands for the order, `{holders}` for the orders
//! that hold an item.

use super::Kind;

pub(super) const REFUNDED_TWICE: &str = "if it was also refunded by hand, reclaim or reverse that; \
                                         else nothing";
pub(super) const RELEASED_TWICE: &str = "if its units were also put back by hand, or shipped, \
                                         adjust the item by that many; else nothing";

const BY_HAND: &str =
    "compare waybill logs with the order's timeline; repair the wrong row by hand";
const RELEASE_BY_HAND: &str = "set the status of its reservation's row to RELEASED and move its \
                               units from held to available in each item's row, in one \
                               transaction; if they were shipped, then adjust each item down by \
                               that many";
const SETTLE_BY_HAND: &str = "refund its charge at the provider, then set the status of its \
                              payment's row to REFUNDED (with the provider's payment_id), or to \
                              VOIDED if nothing was charged";
const LOST: &str = "waybill dlq ls shows whether its";

impl Kind {
    pub(super) fn next(self) -> String {
        let next = match self {
            Self::Unreadable => {
                "repair the row before anything else (point-in-time recovery has an earlier \
                 version); then audit again"
            }
            Self::Misshapen => "repair the row (point-in-time recovery has an earlier version)",
            Self::Misfiled => "correct the attribute",
            Self::Overdue => {
                "waybill saga retry {id}; see waybill logs orders if the sweeper fails"
            }
            Self::Parked => {
                "waybill dlq ls, then waybill saga retry {id}, or the next step that \
                             saga ls prints"
            }
            Self::NeverDue => "waybill saga retry {id}",
            Self::NoSuchUser => "restore the users table's row",
            Self::TotalDiffers
            | Self::NotReserved
            | Self::ReservedOtherwise
            | Self::AnotherUser => BY_HAND,
            Self::StillReserved => {
                return format!(
                    "{LOST} ReleaseStock was lost, and dlq redrive sends it back; else \
                     {RELEASE_BY_HAND}"
                );
            }
            Self::ReservedAfterAll => RELEASE_BY_HAND,
            Self::ReservationOfNobody => {
                return format!("restore the order's row; or {RELEASE_BY_HAND}");
            }
            Self::NoSuchItem => "restore its row; {holders}",
            Self::LevelsDiffer | Self::BelowZero | Self::HeldDiffers | Self::AdjustmentsDiffer => {
                "compare its orders and adjustments, and repair its row by hand; {holders}"
            }
            Self::NotCharged => {
                "waybill logs payments, with the order's timeline; then cancel the order (POST \
                 /api/v1/orders/{id}/cancel), which refunds its charge and releases its stock, or \
                 repair the wrong row by hand"
            }
            Self::ChargedOtherwise => {
                "waybill logs payments, with the order's timeline; if the order is confirmed, \
                 cancel the order (POST /api/v1/orders/{id}/cancel), and abandon its refund if \
                 that is parked; else repair the wrong row by hand"
            }
            Self::StillCharged | Self::Unsettled => {
                return format!(
                    "{LOST} RefundPayment was lost, and dlq redrive sends it back; else \
                     {SETTLE_BY_HAND}"
                );
            }
            Self::ChargedAfterAll => SETTLE_BY_HAND,
            Self::PaymentOfNobody => {
                return format!("restore the order's row; or {SETTLE_BY_HAND}");
            }
            Self::LedgerDiffers => {
                "waybill logs payments; repair by hand the payment's row, or the charge or refund \
                 at the provider"
            }
            Self::LedgerOfNobody => "restore the payment's row, or refund it at the provider",
            Self::OverRefunded | Self::RefundBeyondCharge => {
                "reclaim the excess refund at the provider, then delete the wrong refund from its \
                 ledger (a SIMULATOR row of the payments table)"
            }
        };
        next.to_owned()
    }
}
