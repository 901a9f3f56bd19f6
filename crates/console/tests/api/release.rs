//! Releasing what shadow mode withheld: asked for once, with who and why, and refused where there is nothing to tell.

use paybell_core::Telling;
use paybell_core::event::EventType;
use paybell_core::shadow::withheld_id;

use crate::desk::{Desk, MCH, TX, key, paid};

#[tokio::test(start_paused = true)]
async fn a_withheld_order_is_asked_for_with_a_check_that_says_so() {
    let desk = Desk::open();
    for order in ["TOLD", "HELD"] {
        desk.order(order, Some(&paid(100))).await;
    }
    {
        let mut stored = desk.engine.stored.lock().unwrap();
        let record = stored.records.get_mut(&key("HELD")).unwrap();
        let event = record.history.iter_mut().find_map(|entry| entry.event.as_mut()).unwrap();
        (event.id, event.order_mut().unwrap().shadow) =
            (withheld_id(&key("HELD"), EventType::Paid, TX), true);
    }
    let release = |order: &str| format!("POST /v1/orders/{MCH}/{order}/release\n\n{{\"reason\":\"missed\"}}");
    assert_eq!(desk.ask(&release("TOLD")).await.status, 409);
    assert_eq!(desk.ask(&release("NOBODY")).await.status, 404);
    assert_eq!(desk.engine.stored.lock().unwrap().checks.len(), 0);
    assert_eq!(desk.ask(&release("HELD")).await.status, 202);
    let checks = desk.engine.stored.lock().unwrap().checks.clone();
    let [check] = checks.as_slice() else { panic!("{checks:?}") };
    assert_eq!((&check.key, check.telling), (&key("HELD"), Telling::Release));
    let trail = desk.ask("GET /v1/audit?action=release").await.json();
    let acts = trail["acts"].as_array().unwrap();
    let outcomes: Vec<&str> = acts.iter().map(|act| act["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["done", "unknown-order", "nothing-withheld"], "{trail}");
}
