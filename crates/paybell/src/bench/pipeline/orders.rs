//! Orders at the simulator: placed and paid silently over its control API, before anything is measured.

use std::{cell::RefCell, io, net::SocketAddr, ops::Range, rc::Rc};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    bench::{
        MCH_ID,
        client::Connection,
        notifications::{TOTAL_FEE, out_trade_no, transaction_id},
        while_doing,
    },
    error::Error,
};

const CONNECTIONS: usize = 32;

/// Places and pays the orders of these serial numbers.
pub async fn prepare(simulator: SocketAddr, serials: Range<usize>) -> Result<(), Error> {
    let left = Rc::new(RefCell::new(serials));
    let mut placing = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(simulator).await;
        let mut connection = connection.map_err(while_doing("connecting to the simulator"))?;
        let left = left.clone();
        placing.spawn_local(async move {
            loop {
                let Some(serial) = left.borrow_mut().next() else { return Ok(()) };
                place_and_pay(&mut connection, serial).await?;
            }
        });
    }
    while let Some(ended) = placing.join_next().await {
        let ended: io::Result<()> = ended.map_err(|error| Error::Failed(format!("a task ended: {error}")))?;
        ended.map_err(while_doing("placing orders at the simulator"))?;
    }
    Ok(())
}

async fn place_and_pay(connection: &mut Connection, serial: usize) -> io::Result<()> {
    let number = out_trade_no(serial);
    let order = json!({
        "mch_id": MCH_ID,
        "out_trade_no": number,
        "total_fee": TOTAL_FEE,
        "notify_url": "http://127.0.0.1:9/notify/pay",
    });
    post(connection, "/_sim/orders", &order).await?;
    let payment = json!({ "transaction_id": transaction_id(serial), "silent": true });
    post(connection, &format!("/_sim/orders/{MCH_ID}/{number}/pay"), &payment).await
}

async fn post(connection: &mut Connection, path: &str, document: &Value) -> io::Result<()> {
    let body = document.to_string();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: simulator\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let answer = connection.exchange(request.as_bytes()).await?;
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(answer.body);
    Err(io::Error::other(format!("{path} was answered {}: {said}", answer.status)))
}
