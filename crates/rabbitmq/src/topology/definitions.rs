//! The plan as a definitions file, which `rabbitmqctl import_definitions` and the management plugin read: for
//! operators who let nobody but themselves create queues.

use serde_json::{Value, json};

use super::plan::{Shape, plan};

/// Exchanges, queues and bindings of a virtual host.
pub fn definitions(shape: &Shape, vhost: &str) -> Value {
    let (mut exchanges, mut queues, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
    for item in plan(shape) {
        match item.kind.exchange() {
            Some(kind) => exchanges.push(json!({
                "name": item.name, "vhost": vhost, "type": kind,
                "durable": true, "auto_delete": false, "internal": false, "arguments": item.arguments,
            })),
            None => queues.push(json!({
                "name": item.name, "vhost": vhost, "durable": true, "auto_delete": false,
                "arguments": item.arguments,
            })),
        }
        if let Some(exchange) = item.bound_to {
            bindings.push(json!({
                "source": exchange, "vhost": vhost, "destination": item.name, "destination_type": "queue",
                "routing_key": "", "arguments": {},
            }));
        }
    }
    json!({ "exchanges": exchanges, "queues": queues, "bindings": bindings })
}
