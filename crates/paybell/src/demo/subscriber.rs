//! A business service: follows the event stream, prints each event, notes it on the board. After a break it connects
//! again and continues behind the last event, as every subscriber should.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use paybell_core::event::{Event, EventType};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use super::{board::Board, screen::Screen, table::yuan};
use crate::{
    api::{Api, StreamError, sse::Parser},
    error::Error,
};

const PAUSE: Duration = Duration::from_millis(200);

/// A subscriber at work. Dropping it ends it.
pub struct Subscriber(JoinSet<Result<(), Error>>);

impl Subscriber {
    /// Begins with what comes from now on.
    pub async fn start(api: Api, board: Arc<Board>, screen: Screen) -> Result<Self, Error> {
        let end = api.get("/v1/events", &[]).await?;
        let place = end.get("next").and_then(Value::as_str).map(str::to_owned);
        let mut task = JoinSet::new();
        task.spawn(follow(api, place, board, screen));
        Ok(Self(task))
    }

    /// Waits until it cannot go on.
    pub async fn failure(&mut self) -> Error {
        match self.0.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => Error::Failed(format!("the subscriber broke off: {error}")),
            Some(Ok(Ok(()))) | None => Error::Failed("the subscriber ended".to_owned()),
        }
    }
}

async fn follow(api: Api, place: Option<String>, board: Arc<Board>, screen: Screen) -> Result<(), Error> {
    let mut parser = Parser::after(place);
    loop {
        let place = parser.last_id().map(str::to_owned);
        match api.stream("/v1/events/stream", &[("after", place.as_deref())]).await {
            Ok(body) => {
                parser = Parser::after(place);
                read(body, &mut parser, &board, &screen).await?;
            }
            Err(StreamError::Unreachable(_)) => {}
            Err(StreamError::Refused(error)) => return Err(error),
        }
        sleep(PAUSE).await;
    }
}

/// Reads until the stream ends.
async fn read(
    mut body: hyper::body::Incoming,
    parser: &mut Parser,
    board: &Board,
    screen: &Screen,
) -> Result<(), Error> {
    while let Some(Ok(frame)) = body.frame().await {
        let Some(piece) = frame.data_ref() else { continue };
        let broken = |what: &str| Error::Failed(format!("the event stream is broken: {what}"));
        for sent in parser.feed(piece).map_err(|_| broken("a line has no end"))? {
            let event: Event =
                serde_json::from_str(&sent.data).map_err(|error| broken(&error.to_string()))?;
            board.note(&event);
            screen.line(&line(&event))?;
            screen.settled(board.count());
        }
    }
    Ok(())
}

/// `12:00:05  DEMO000017   ¥19.99  paid      notification`
fn line(event: &Event) -> String {
    let time = event.time.rfc3339();
    let time = time.get(11..19).unwrap_or_default();
    let fee = event.order().and_then(|data| match &data.refund {
        Some(refund) => Some(refund.refund_fee),
        None => data.total_fee,
    });
    let amount = fee.map_or(String::new(), |fee| yuan(fee.get()));
    let word = event.kind.as_str().trim_start_matches("order.");
    let how = match event.kind {
        EventType::Unpaid | EventType::Closed | EventType::Failed => "",
        _ => event.learned_by().as_str(),
    };
    format!("{time}  {:<10}  {amount:>8}  {word:<8}  {how}", event.subject.as_str()).trim_end().to_owned()
}
