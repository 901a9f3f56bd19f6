//! A node whose copy of the event log is behind: what another node has told is waited for, and never called gone.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test drives real time")]

mod stand;

use std::io::Write;
use std::time::{Duration, Instant};

use paybell_core::event::Event;
use paybell_core::ports::{Cursor, EventFilter, LogRead, PortError};
use testkit::servers::{Rabbit, RabbitCluster, unique_prefix};
use tokio::time::timeout;

use stand::{Process, config, distinct, paid, until};

/// Suspends or resumes whatever feeds this node's copies of streams from their leaders. The copies go on serving what
/// they have: the node does not know that it is behind.
async fn at_feeders(node: &Rabbit, what: &str) {
    let copies = "{_, Copy, _, _} <- supervisor:which_children(osiris_server_sup), is_pid(Copy)";
    let peers = "Peer <- tuple_to_list(element(2, sys:get_state(Copy))), is_pid(Peer), node(Peer) =/= node()";
    let is_feeder = "element(1, rpc:call(node(Peer), proc_lib, translate_initial_call, [Peer])) =:= \
                     osiris_replica_reader";
    let said = node.ctl(&["eval", &format!("[sys:{what}(Peer) || {copies}, {peers}, {is_feeder}].")]).await;
    assert_eq!(said.trim(), "[ok]", "{what}: the node has one stream, and follows its leader");
}

async fn read(reader: &Process, after: Cursor) -> Result<LogRead, PortError> {
    reader.log.read(Some(after), &EventFilter::default(), 10).await
}

/// The newest place, once the writer sees it.
async fn append(writer: &Process, events: &[Event]) -> Cursor {
    writer.append(events).await;
    writer.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_waits_and_calls_nothing_gone() {
    if std::env::var_os("PAYBELL_TEST_FULL").is_none() {
        let why =
            "SKIPPED a node that is behind: three brokers take half a minute to start: tests/run --full";
        writeln!(std::io::stderr(), "\n{why}").unwrap();
        return;
    }
    let (cluster, prefix) = (RabbitCluster::start(3).await, unique_prefix());
    let begun = Instant::now();
    let stream = format!("{prefix}.events.log");
    rabbitmq::topology::apply(&config(&cluster.node(0).url(), &prefix)).await.unwrap();
    let leader = cluster.leader_of(&stream, 0).await.unwrap();
    let behind = cluster.node((leader + 1) % 3);
    let writer = Process::start(config(&cluster.node(leader).url(), &prefix)).await;
    let reader = Process::reader(config(&behind.url(), &prefix));
    let early = append(&writer, &paid(0..10)).await;
    until("the copy is there", async || reader.log.end().await.is_ok_and(|end| end == early)).await;

    at_feeders(behind, "suspend").await;
    let newest = append(&writer, &paid(10..15)).await;
    // The reader has the log marked: the majority confirms it, and the mark does not come to this node.
    until("a mark is written", async || {
        let answer = read(&reader, newest).await;
        assert!(matches!(answer, Err(PortError::Unavailable { .. })), "{answer:?}");
        writer.end().await.position > newest.position
    })
    .await;
    let answer = read(&reader, newest).await;
    assert!(matches!(answer, Err(PortError::Unavailable { .. })), "{answer:?}");
    assert_eq!(reader.end().await, early, "what it has, it tells");
    timeout(Duration::from_secs(60), reader.log.grown(newest)).await.expect("reading will tell").unwrap();

    at_feeders(behind, "resume").await;
    until("the place is there", async || match read(&reader, newest).await {
        Ok(LogRead::Page(page)) => page.events.is_empty() && page.next.position >= newest.position,
        Ok(LogRead::Gone { .. }) => panic!("it is called gone, and was only late"),
        Err(_) => false,
    })
    .await;
    let beyond = Cursor { position: newest.position + 1_000, ..newest };
    until("a place that never was is gone", async || {
        matches!(read(&reader, beyond).await, Ok(LogRead::Gone { oldest: Cursor::START }))
    })
    .await;
    writer.append(&paid(15..16)).await;
    until("what comes next is told", async || {
        let page = reader.page(Some(newest), 10).await;
        distinct(&page.events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>()) == paid(15..16)
    })
    .await;
    println!("all of it took {:?} on a cluster that runs", begun.elapsed());
    for process in [writer, reader] {
        process.engine.close().await;
    }
}
