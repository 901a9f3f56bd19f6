//! Redis fails, or the network to it. The ingress does not notice.

use testkit::servers::{Proxy, Redis, Sentinels, shared_rabbit, wait};

use crate::{
    broker::stay_silent,
    harness::{eventually, is_full, skip, wait_for},
    rig::{Kept, Rig},
};

#[test]
fn a_redis_that_dies_or_is_emptied_stops_no_ingress_and_loses_no_acknowledged_payment() {
    let redis = wait(Redis::start());
    let mut rig = Rig::start(&wait(shared_rabbit()), &redis.url());
    rig.suffer("Redis killed and restarted (AOF)", |rig| {
        wait(redis.kill());
        eventually("the workers say that they are not ready", || {
            Rig::readiness(&rig.workers) == [false, false]
        });
        eventually("the ingress needs no ledger", || Rig::readiness(&rig.ingresses) == [true, true]);
        wait(redis.start_again());
    });
    rig.suffer_and_keep("Redis emptied", Kept::Acknowledged, |_| {
        wait(redis.cli(&["FLUSHALL"]));
    });
}

#[test]
fn a_network_to_redis_that_falls_silent_stops_no_ingress_and_loses_nothing() {
    let redis = wait(Redis::start());
    let proxy = Proxy::start(redis.port());
    let mut rig = Rig::start(&wait(shared_rabbit()), &proxy.through(&redis.url()));
    rig.suffer("silence between us and Redis for 20 s", |rig| {
        stay_silent(&proxy, || {
            eventually("the ingress needs no ledger", || Rig::readiness(&rig.ingresses) == [true, true]);
        });
    });
}

#[test]
fn a_failover_by_sentinels_repeats_events_under_the_same_id_at_most() {
    if !is_full() {
        skip("a failover takes its time: tests/run --full");
        return;
    }
    let master = wait(Redis::start());
    let replica = wait(Redis::replica_of(&master));
    let sentinels = wait(Sentinels::start(3, &master));
    let mut rig = Rig::start(&wait(shared_rabbit()), &sentinels.url());
    rig.suffer("Sentinel failover", |_| {
        wait(master.kill());
        wait_for("the replica is promoted", || {
            (wait(sentinels.master_port(0)) == replica.port()).then_some(())
        });
    });
}
