//! Which scenes there are, over which way each can be played, and what a subscriber must have done in the end. How a
//! scene is played stands in [`crate::rehearse::script`], its words in [`crate::rehearse::words`].

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// One scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scene {
    Paid,
    Duplicate,
    AtOnce,
    Late,
    Mismatch,
    Accepted,
    SecondPayment,
    Refunded,
    RefundedFirst,
    FoundRefunded,
    DeniedAfterPaid,
    Denied,
    Nulls,
    UnknownType,
    UnknownField,
    Unregistered,
    RawBody,
    WrongSignature,
    Stale,
    Rotation,
    LostAnswer,
    Burst,
}

/// How often each order of a scene must have been shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    pub min: u64,
    pub max: u64,
}

impl Shipped {
    pub const NEVER: Self = Self { min: 0, max: 0 };
    pub const ONCE: Self = Self { min: 1, max: 1 };
    pub const AT_MOST_ONCE: Self = Self { min: 0, max: 1 };

    pub fn includes(self, count: u64) -> bool {
        (self.min..=self.max).contains(&count)
    }
}

/// What the shop does with a payment that comes after it released the goods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnLate {
    /// It ships.
    Ship,
    /// It refunds.
    Refund,
}

impl Scene {
    /// In the order in which they are played.
    pub const ALL: [Scene; 22] = [
        Scene::Paid,
        Scene::Duplicate,
        Scene::AtOnce,
        Scene::Late,
        Scene::Mismatch,
        Scene::Accepted,
        Scene::SecondPayment,
        Scene::Refunded,
        Scene::RefundedFirst,
        Scene::FoundRefunded,
        Scene::DeniedAfterPaid,
        Scene::Denied,
        Scene::Nulls,
        Scene::UnknownType,
        Scene::UnknownField,
        Scene::Unregistered,
        Scene::RawBody,
        Scene::WrongSignature,
        Scene::Stale,
        Scene::Rotation,
        Scene::LostAnswer,
        Scene::Burst,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Scene::Paid => "paid",
            Scene::Duplicate => "duplicate",
            Scene::AtOnce => "at-once",
            Scene::Late => "late",
            Scene::Mismatch => "mismatch",
            Scene::Accepted => "accepted",
            Scene::SecondPayment => "second-payment",
            Scene::Refunded => "refunded",
            Scene::RefundedFirst => "refunded-first",
            Scene::FoundRefunded => "found-refunded",
            Scene::DeniedAfterPaid => "denied-after-paid",
            Scene::Denied => "denied",
            Scene::Nulls => "nulls",
            Scene::UnknownType => "unknown-type",
            Scene::UnknownField => "unknown-field",
            Scene::Unregistered => "unregistered",
            Scene::RawBody => "raw-body",
            Scene::WrongSignature => "wrong-signature",
            Scene::Stale => "stale",
            Scene::Rotation => "rotation",
            Scene::LostAnswer => "lost-answer",
            Scene::Burst => "burst",
        }
    }

    /// Where it stands in [`Scene::ALL`]: a part of its orders' numbers.
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|scene| *scene == self).unwrap_or_default()
    }

    /// Whether there must be a signature, or an answer, for it to be played.
    pub fn is_for_webhooks_only(self) -> bool {
        matches!(self, Scene::WrongSignature | Scene::Stale | Scene::Rotation | Scene::LostAnswer)
    }

    /// Whether its requests must be refused.
    pub fn is_forged(self) -> bool {
        matches!(self, Scene::WrongSignature | Scene::Stale)
    }

    pub fn expected(self, on_late: OnLate) -> Shipped {
        match self {
            Scene::Late if on_late == OnLate::Refund => Shipped::NEVER,
            // Who ships at once has shipped; who waits has not.
            Scene::Refunded => Shipped::AT_MOST_ONCE,
            Scene::Mismatch
            | Scene::RefundedFirst
            | Scene::FoundRefunded
            | Scene::Denied
            | Scene::UnknownType
            | Scene::Unregistered
            | Scene::WrongSignature
            | Scene::Stale => Shipped::NEVER,
            _ => Shipped::ONCE,
        }
    }
}

impl ValueEnum for Scene {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_has_a_name_and_a_place_of_its_own() {
        for (index, scene) in Scene::ALL.into_iter().enumerate() {
            assert_eq!(scene.index(), index);
            assert_eq!(Scene::from_str(scene.as_str(), false), Ok(scene));
        }
    }

    #[test]
    fn a_shop_that_refunds_late_payments_ships_none() {
        assert_eq!(Scene::Late.expected(OnLate::Ship), Shipped::ONCE);
        assert_eq!(Scene::Late.expected(OnLate::Refund), Shipped::NEVER);
        assert_eq!(Scene::Paid.expected(OnLate::Refund), Shipped::ONCE);
    }
}
