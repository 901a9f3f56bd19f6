//! The baselines, as servers of their own: hyper that answers a constant, and the ingress without its durable step.
//! Neither stores anything, so neither is ever reachable but from a benchmark.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use ::ingress::{Answer, Ingress, IngressMetrics, IsDraining, KeyUsed, Merchant, Merchants};
use async_trait::async_trait;
use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use http_body_util::Full;
use http_server::{Limits, Listener, Peer};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use paybell_core::{
    Check, Lane,
    ports::{CheckQueue, PortError},
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wechat_pay::sign::{AcceptedAlgorithm, Algorithm, ApiKey};

use super::{API_KEY, APP_ID, MCH_ID};
use crate::{cli::in_runtime, error::Error, output};

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[arg(value_enum)]
    what: Baseline,
}

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Baseline {
    /// Everything but HTTP
    Bare,
    /// Only the durable step
    Verify,
}

/// Serves on loopback until it is killed; prints the address.
pub fn run(args: Args) -> Result<(), Error> {
    match args.what {
        Baseline::Bare => in_runtime(bare()),
        Baseline::Verify => in_runtime(verify()),
    }
}

fn announce(address: SocketAddr) -> Result<(), Error> {
    output::line(&address.to_string())
}

async fn bare() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?)?;
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(async move {
            let service = service_fn(|_: Request<Incoming>| async { constant() });
            // A load generator that goes away is no fault.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn constant() -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(Answer::Success.body()))))
}

async fn verify() -> Result<(), Error> {
    let key = ApiKey::new(API_KEY).map_err(|error| Error::Failed(error.to_string()))?;
    let merchant = Merchant {
        mch_id: MCH_ID.to_owned(),
        app_ids: vec![APP_ID.to_owned()],
        sub_mch_ids: Vec::new(),
        keys: vec![key],
        accepted: AcceptedAlgorithm::Only(Algorithm::Md5),
    };
    let merchants = Merchants::new([merchant]).map_err(|error| Error::Failed(error.to_string()))?;
    let metrics = IngressMetrics::register(&mut Registry::default(), [MCH_ID], &KeyUsed::default());
    let ingress = Arc::new(Ingress::new(Arc::new(merchants), Arc::new(Nowhere), metrics));
    let listener = Listener::bind("127.0.0.1:0", Limits::default(), None).await?;
    announce(listener.local_addr())?;
    let service = move |request: Request<Incoming>, peer: Peer| {
        let ingress = ingress.clone();
        async move { ingress.handle(request, peer, IsDraining(false)).await }
    };
    listener.serve(service, CancellationToken::new()).await;
    Err(Error::Terminal(io::ErrorKind::Interrupted.into()))
}

/// A queue that keeps nothing.
struct Nowhere;

#[async_trait]
impl CheckQueue for Nowhere {
    async fn publish(&self, _: &[Check]) -> Result<(), PortError> {
        Ok(())
    }

    async fn backlog(&self, _: Lane) -> Result<u64, PortError> {
        Ok(0)
    }
}
