//! RabbitMQ fails, or the network to it.

use std::time::{Duration, Instant};

use testkit::servers::{Proxy, Rabbit, RabbitCluster, shared_redis, wait};

use crate::{
    harness::{eventually, is_full, skip, wait_for},
    rig::Rig,
};

/// So long a network is silent.
const SILENCE: Duration = Duration::from_secs(20);

#[test]
fn a_broker_that_dies_drops_everybody_or_runs_out_of_memory_costs_a_503_and_no_payment() {
    let rabbit = wait(Rabbit::start());
    let mut rig = Rig::start(&rabbit.url(), &wait(shared_redis()));
    rig.suffer("RabbitMQ killed and restarted", |rig| {
        wait(rabbit.kill());
        eventually("the ingresses say that they are not ready", || {
            Rig::readiness(&rig.ingresses) == [false, false]
        });
        wait(rabbit.start_again());
    });
    rig.suffer("all connections closed by the broker", |_| {
        wait(rabbit.ctl(&["close_all_connections", "a fault"]));
    });
    rig.suffer("memory alarm raised and cleared", |rig| {
        wait(rabbit.ctl(&["set_vm_memory_high_watermark", "0.00001"]));
        eventually("the ingresses say that they are not ready", || {
            Rig::readiness(&rig.ingresses) == [false, false]
        });
        wait(rabbit.ctl(&["set_vm_memory_high_watermark", "0.6"]));
    });
}

#[test]
fn a_network_to_the_broker_that_falls_silent_costs_a_503_and_no_payment() {
    let rabbit = wait(Rabbit::start());
    let proxy = Proxy::start(rabbit.port());
    let mut rig = Rig::start(&proxy.through(&rabbit.url()), &wait(shared_redis()));
    rig.suffer("silence between us and RabbitMQ for 20 s", |_| stay_silent(&proxy, || ()));
}

#[test]
fn the_leader_of_a_three_node_cluster_is_killed_and_nothing_is_lost() {
    if !is_full() {
        skip("three brokers take half a minute to start: tests/run --full");
        return;
    }
    let cluster = wait(RabbitCluster::start(3));
    let mut rig = Rig::start(&cluster.node(0).url(), &wait(shared_redis()));
    let leader = led_elsewhere(&cluster, &rig.prefix);
    rig.suffer("the leader of a three-node cluster killed", |_| wait(cluster.node(leader).kill()));
    wait(cluster.node(leader).start_again());
    rig.is_ready();
    rig.suffer("the node that ours are connected to killed and restarted", |_| {
        wait(cluster.node(0).kill());
        wait(cluster.node(0).start_again());
    });
}

/// All of ours come in through the first node. Has another one lead the queues of checks, the one that leads the stream
/// if that may be, and gives it.
#[track_caller]
pub fn led_elsewhere(cluster: &RabbitCluster, prefix: &str) -> usize {
    let leads =
        |queue: &str| wait_for(&format!("{queue} has a leader"), || wait(cluster.leader_of(queue, 0)));
    let leader = leads(&format!("{prefix}.events.log")).max(1);
    let node = cluster.node(leader).node_name();
    for queue in ["checks.0", "checks.1", "due.0", "due.1"].map(|queue| format!("{prefix}.{queue}")) {
        let transfer = format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
             rabbit_quorum_queue:transfer_leadership(Q, '{node}')."
        );
        wait_for(&format!("{queue} is led by {node}"), || {
            (leads(&queue) == leader || {
                wait(cluster.node(0).ctl(&["eval", &transfer]));
                false
            })
            .then_some(())
        });
    }
    leader
}

/// Keeps the network silent for its time, and looks at what stands before it ends.
pub fn stay_silent(proxy: &Proxy, looks: impl FnOnce()) {
    let begun = Instant::now();
    proxy.silence();
    crate::harness::wait_within(SILENCE * 2, "the silence ends", || {
        (begun.elapsed() >= SILENCE).then_some(())
    });
    looks();
    proxy.speak();
}
