//! Processes of ours die.

use testkit::servers::{shared_rabbit, shared_redis, wait};

use crate::rig::Rig;

#[test]
fn a_killed_process_of_any_role_loses_nothing_and_the_other_one_goes_on() {
    let mut rig = Rig::start(&wait(shared_rabbit()), &wait(shared_redis()));
    rig.suffer("SIGKILL of an ingress", |rig| Rig::kill(&mut rig.ingresses));
    rig.refill();
    rig.suffer("SIGKILL of a worker", |rig| Rig::kill(&mut rig.workers));
    rig.refill();
    rig.suffer("SIGKILL of a scheduler", |rig| Rig::kill(&mut rig.schedulers));
    rig.refill();
    rig.suffer("SIGKILL of a console", |rig| Rig::kill(&mut rig.consoles));
}
