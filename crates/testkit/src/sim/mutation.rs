//! Deliberately broken variants. Each breaks one rule that the promise stands on; the simulation must catch them all.

/// A rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// I1: the queue says "durable" first and stores later.
    AnswerBeforeDurable,
    /// The ledger forgets outgoing events before the log has them.
    ClearBeforePublish,
    /// I5: a commit by a stale owner is taken.
    NoFencing,
    /// I5: a delivery that finds the lease taken is simply dropped.
    NoLookAgain,
    /// A delivery that finds the lease taken leaves the lease's end as unhurried as it was.
    WakeUpWaitsAmongPolls,
    /// I6: an order counts as seen as soon as one notification of it was taken.
    SeenTooEarly,
    /// A transient answer counts as "not paid".
    DenialFromTransient,
    /// I3: a refunded payment is not compared with the registered amount.
    RefundWithoutAmountCheck,
    /// I8: a claim clears the due time instead of moving it.
    ClaimForgetsDue,
    /// I8: taking a lease clears the due time.
    LeaseForgetsDue,
    /// A delivery is acknowledged as soon as it is handed out.
    AcknowledgeFirst,
    /// I4: every publication gets a new id.
    FreshEventIds,
    /// A commit writes back the registration it once read.
    CommitOverwritesRegistration,
    /// A decision made before a registration is stored after it.
    CommitIgnoresFacts,
    /// I2: an answer to the question before a registration is taken for one to the question after it.
    OldAnswerToANewQuestion,
    /// I9: what was called unpaid or closed stays so.
    LateTruthIgnored,
    /// A transient answer waits for the next cadence point instead of a backoff.
    TransientIsACadenceStep,
    /// A bad answer signature is overlooked.
    UnverifiedAnswers,
    /// A refund whose answer was lost is sent again under a number of its own.
    RefundNumberOnRetry,
    /// A lost answer to a refund request counts as a refusal.
    LostAnswerIsARefusal,
    /// The refusal of a request that was sent twice counts as that of its only sending.
    RepeatIsTheOnlySending,
    /// What WeChat took counts as returned, before refundquery says so.
    RequestSettlesRefund,
    /// The record forgets which refunds it told.
    RefundToldAgain,
    /// A commit writes back the refunds it once read.
    CommitOverwritesRefunds,
    /// A commit makes the record due for the order only.
    RefundDueForgotten,
    /// A notification of a refund counts as one of the payment.
    RefundIsAPayment,
    /// A wish that comes while a refund is looked at is forgotten with the answer.
    RefundHintSwallowed,
    /// Nobody remembers which number of a business order was paid first.
    ClaimForgotten,
    /// I11: a jump of the clock is overlooked.
    JumpOverlooked,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 29] = [
        Mutation::AnswerBeforeDurable,
        Mutation::ClearBeforePublish,
        Mutation::NoFencing,
        Mutation::NoLookAgain,
        Mutation::WakeUpWaitsAmongPolls,
        Mutation::SeenTooEarly,
        Mutation::DenialFromTransient,
        Mutation::RefundWithoutAmountCheck,
        Mutation::ClaimForgetsDue,
        Mutation::LeaseForgetsDue,
        Mutation::AcknowledgeFirst,
        Mutation::FreshEventIds,
        Mutation::CommitOverwritesRegistration,
        Mutation::CommitIgnoresFacts,
        Mutation::OldAnswerToANewQuestion,
        Mutation::LateTruthIgnored,
        Mutation::TransientIsACadenceStep,
        Mutation::UnverifiedAnswers,
        Mutation::RefundNumberOnRetry,
        Mutation::LostAnswerIsARefusal,
        Mutation::RepeatIsTheOnlySending,
        Mutation::RequestSettlesRefund,
        Mutation::RefundToldAgain,
        Mutation::CommitOverwritesRefunds,
        Mutation::RefundDueForgotten,
        Mutation::RefundIsAPayment,
        Mutation::RefundHintSwallowed,
        Mutation::ClaimForgotten,
        Mutation::JumpOverlooked,
    ];
}
