//! Attempts to connect to a peer that never answers leave no thread behind. By itself, because it counts threads.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test drives real time")]

use std::time::Duration;

use rabbitmq::{Needs, RabbitConfig, RabbitMq};
use tokio::net::TcpListener;

/// Threads of this process that work for a connection.
fn connection_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
    names.filter(|name| name.starts_with("lapin-io")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_answers_costs_no_threads() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let rabbit =
        RabbitMq::start(&RabbitConfig::at(format!("amqp://127.0.0.1:{port}/%2f")), Needs::default()).unwrap();
    let mut silent = Vec::new();
    for attempt in 0..4 {
        let (socket, _) = listener.accept().await.unwrap();
        silent.push(socket);
        assert!(connection_threads() <= 2, "{} threads at attempt {attempt}", connection_threads());
    }
    rabbit.close().await;
    let gone = async {
        while connection_threads() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the last thread ends");
}
