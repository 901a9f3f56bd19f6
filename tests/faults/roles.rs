//! Processes of ours die.

use std::time::Duration;

use serde_json::json;
use testkit::servers::{shared_rabbit, shared_redis, wait};

use crate::rig::Rig;

/// What the killed worker had in hand included: another one waits for its silence, and not for its leases' end.
const TOLD_WITHIN: Duration = Duration::from_secs(45);

#[test]
fn a_killed_process_of_any_role_loses_nothing_and_the_other_one_goes_on() {
    let mut rig = Rig::start(&wait(shared_rabbit()), &wait(shared_redis()));
    rig.suffer("SIGKILL of an ingress", |rig| Rig::kill(&mut rig.ingresses));
    rig.refill();
    // WeChat is slow, so that the worker holds leases when it dies.
    rig.simulator.misbehaves(&json!({"query_slow": 1.0, "query_slow_ms": 1_500}));
    let told = rig.suffer("SIGKILL of a worker with leases in hand", |rig| {
        Rig::kill(&mut rig.workers);
        rig.simulator.heal();
    });
    assert!(told <= TOLD_WITHIN, "long before a lease's end: {told:?}");
    rig.refill();
    rig.suffer("SIGKILL of a scheduler", |rig| Rig::kill(&mut rig.schedulers));
    rig.refill();
    rig.suffer("SIGKILL of a console", |rig| Rig::kill(&mut rig.consoles));
}
