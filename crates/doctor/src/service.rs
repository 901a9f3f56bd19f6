//! The running service, by its own admin listener: ready or not, and what its counters tell of notifications that were
//! refused since it started. A service that is not there is no fault: a doctor comes before the first start too.

mod bills;
mod counters;

use futures_util::future::join;

use crate::finding::Finding;
use crate::net::{Answer, NetError, Place, Request, Roots};
use crate::samples::Samples;

pub use counters::judge_page;

/// Looks at one process. `admin` is `HOST:PORT`; `mch_ids` are the merchants that it should know.
pub async fn look(admin: &str, mch_ids: &[&str]) -> Vec<Finding> {
    let (ready, metrics) = join(ask(admin, "/readyz"), ask(admin, "/metrics")).await;
    let ready = match ready {
        Ok(answer) => answer,
        Err(error) => return vec![absent(admin, &error)],
    };
    let page =
        metrics.as_ref().map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default();
    if !page.contains("paybell_") {
        return vec![foreign(admin, &ready)];
    }
    let samples = Samples::read(&page);
    let mut findings = vec![readiness(admin, &ready)];
    if ready.status != 200 {
        findings.extend(counters::parts(&samples));
    }
    findings.extend(counters::judge(&samples, mch_ids));
    findings
}

async fn ask(admin: &str, path: &str) -> Result<Answer, NetError> {
    let url = format!("http://{admin}{path}");
    let place =
        Place::parse(&url).ok_or_else(|| NetError::Name(admin.to_owned(), "it is no address".to_owned()))?;
    place.exchange(Request::get(), &Roots::public()).await
}

fn absent(admin: &str, error: &NetError) -> Finding {
    Finding::unseen("service-not-running", admin)
        .seen(format!("no service answers: {error}"), format!("没有服务应答：{error}"))
        .remedy(
            "start it (`paybell run`) and look again; if it runs elsewhere, say where: --admin HOST:PORT",
            "启动服务（paybell run）后再试；若运行在别处，请用 --admin 主机:端口 指定",
        )
}

fn foreign(admin: &str, answer: &Answer) -> Finding {
    Finding::warning("service-strange", admin)
        .seen(
            format!("somebody else answers there: HTTP {}: {}", answer.status, answer.excerpt()),
            format!("应答的不是 Paybell：HTTP {}：{}", answer.status, answer.excerpt()),
        )
        .remedy(
            "another program holds this port: change admin.listen",
            "端口被其他程序占用：请修改 admin.listen",
        )
}

fn readiness(admin: &str, answer: &Answer) -> Finding {
    if answer.status == 200 {
        return Finding::ok("service-ready", admin)
            .seen("it runs and every part answers", "运行中，各部分正常");
    }
    let told = answer.excerpt();
    Finding::error("service-not-ready", admin)
        .seen(format!("it runs and is not ready: {told}"), format!("运行中但未就绪：{told}"))
        .remedy("mend the part it names; it connects again by itself", "请修复它指出的部分；恢复后会自动重连")
}
