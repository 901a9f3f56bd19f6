//! The route table: every path, its methods, and what a caller needs for each. Answers nothing itself; the
//! OpenAPI document is held against this table by a test.

use std::collections::HashMap;

use hyper::Method;
use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::token::Scope;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Index,
    OpenApi,
    Healthz,
    Readyz,
    OrderList,
    OrderPut,
    OrderGet,
    OrderCheck,
    OrderAccept,
    OrderReject,
    OrderRelease,
    OrderPlace,
    OrderClose,
    OpenIdUrl,
    OpenIdCode,
    OpenIdJscode,
    RefundList,
    RefundAsk,
    RefundGet,
    EventList,
    EventStream,
    DeadList,
    DeadShow,
    DeadReplay,
    DeadDrop,
    AuditList,
    EndpointList,
    EndpointShow,
    EndpointResend,
    EndpointEnable,
    BillList,
    BillShow,
    BillReconcile,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, token or not.
    Open,
    /// Every holder of a token.
    AnyToken,
    /// Holders of a token with this scope.
    Scope(Scope),
}

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub method: Method,
    pub template: &'static str,
    pub operation: Operation,
    pub access: Access,
}

const fn endpoint(method: Method, template: &'static str, operation: Operation, access: Access) -> Endpoint {
    Endpoint { method, template, operation, access }
}

const EVENTS: Access = Access::Scope(Scope::Events);
const ORDERS: Access = Access::Scope(Scope::Orders);
const OPERATE: Access = Access::Scope(Scope::Operate);
const REFUNDS: Access = Access::Scope(Scope::Refunds);

pub(crate) static ENDPOINTS: [Endpoint; 33] = [
    endpoint(Method::GET, "/", Operation::Index, Access::AnyToken),
    endpoint(Method::GET, "/openapi.json", Operation::OpenApi, Access::AnyToken),
    endpoint(Method::GET, "/healthz", Operation::Healthz, Access::Open),
    endpoint(Method::GET, "/readyz", Operation::Readyz, Access::Open),
    endpoint(Method::GET, "/v1/orders", Operation::OrderList, ORDERS),
    endpoint(Method::PUT, "/v1/orders/{mch_id}/{out_trade_no}", Operation::OrderPut, ORDERS),
    endpoint(Method::GET, "/v1/orders/{mch_id}/{out_trade_no}", Operation::OrderGet, ORDERS),
    endpoint(Method::POST, "/v1/orders/{mch_id}/{out_trade_no}/check", Operation::OrderCheck, ORDERS),
    endpoint(Method::POST, "/v1/orders/{mch_id}/{out_trade_no}/accept", Operation::OrderAccept, OPERATE),
    endpoint(Method::POST, "/v1/orders/{mch_id}/{out_trade_no}/reject", Operation::OrderReject, OPERATE),
    endpoint(Method::POST, "/v1/orders/{mch_id}/{out_trade_no}/place", Operation::OrderPlace, ORDERS),
    endpoint(Method::POST, "/v1/orders/{mch_id}/{out_trade_no}/close", Operation::OrderClose, ORDERS),
    endpoint(Method::GET, "/v1/openid/authorize-url", Operation::OpenIdUrl, ORDERS),
    endpoint(Method::POST, "/v1/openid/code", Operation::OpenIdCode, ORDERS),
    endpoint(Method::POST, "/v1/openid/jscode", Operation::OpenIdJscode, ORDERS),
    endpoint(Method::POST, "/v1/orders/{mch_id}/{out_trade_no}/release", Operation::OrderRelease, OPERATE),
    endpoint(Method::GET, "/v1/orders/{mch_id}/{out_trade_no}/refunds", Operation::RefundList, ORDERS),
    endpoint(Method::POST, "/v1/orders/{mch_id}/{out_trade_no}/refunds", Operation::RefundAsk, REFUNDS),
    endpoint(
        Method::GET,
        "/v1/orders/{mch_id}/{out_trade_no}/refunds/{out_refund_no}",
        Operation::RefundGet,
        ORDERS,
    ),
    endpoint(Method::GET, "/v1/events", Operation::EventList, EVENTS),
    endpoint(Method::GET, "/v1/events/stream", Operation::EventStream, EVENTS),
    endpoint(Method::GET, "/v1/dead", Operation::DeadList, OPERATE),
    endpoint(Method::GET, "/v1/dead/{id}", Operation::DeadShow, OPERATE),
    endpoint(Method::DELETE, "/v1/dead/{id}", Operation::DeadDrop, OPERATE),
    endpoint(Method::POST, "/v1/dead/{id}/replay", Operation::DeadReplay, OPERATE),
    endpoint(Method::GET, "/v1/audit", Operation::AuditList, OPERATE),
    endpoint(Method::GET, "/v1/endpoints", Operation::EndpointList, OPERATE),
    endpoint(Method::GET, "/v1/endpoints/{name}", Operation::EndpointShow, OPERATE),
    endpoint(Method::POST, "/v1/endpoints/{name}/resend", Operation::EndpointResend, OPERATE),
    endpoint(Method::POST, "/v1/endpoints/{name}/enable", Operation::EndpointEnable, OPERATE),
    endpoint(Method::GET, "/v1/bills", Operation::BillList, OPERATE),
    endpoint(Method::GET, "/v1/bills/{mch_id}/{date}", Operation::BillShow, OPERATE),
    endpoint(Method::POST, "/v1/bills/{mch_id}/{date}/reconcile", Operation::BillReconcile, OPERATE),
];

impl Endpoint {
    /// Whether it changes anything: then a browser must not be able to send it unasked.
    pub(crate) fn is_change(&self) -> bool {
        self.method != Method::GET
    }
}

/// Finds paths.
pub(crate) struct Routes {
    router: matchit::Router<Vec<&'static Endpoint>>,
}

/// A path that exists, with its variable parts decoded.
pub(crate) struct Found<'a> {
    endpoints: &'a [&'static Endpoint],
    pub params: HashMap<String, String>,
}

impl Routes {
    /// Of the whole table.
    pub(crate) fn new() -> Self {
        let mut by_template: HashMap<&'static str, Vec<&'static Endpoint>> = HashMap::new();
        for endpoint in &ENDPOINTS {
            by_template.entry(endpoint.template).or_default().push(endpoint);
        }
        let mut router = matchit::Router::new();
        for (template, endpoints) in by_template {
            router
                .insert(template, endpoints)
                .expect("the templates of the table are distinct and well formed");
        }
        Self { router }
    }

    /// `None` if there is no such path.
    pub(crate) fn find(&self, path: &str) -> Option<Found<'_>> {
        let found = self.router.at(path).ok()?;
        // What is no UTF-8 becomes U+FFFD, which no identifier admits.
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), decode(value))).collect();
        Some(Found { endpoints: found.value, params })
    }
}

impl Found<'_> {
    /// The path's template: a label without anything that a caller chose.
    pub(crate) fn template(&self) -> &'static str {
        self.endpoints.first().map_or("unmatched", |endpoint| endpoint.template)
    }

    /// The endpoint of a method; `HEAD` is a `GET` whose body is not sent.
    pub(crate) fn endpoint(&self, method: &Method) -> Result<&'static Endpoint, Error> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let found = self.endpoints.iter().find(|endpoint| endpoint.method == *method);
        found.copied().ok_or_else(|| Error::Method { allow: self.allow() })
    }

    fn allow(&self) -> String {
        let mut methods: Vec<&str> = Vec::new();
        for endpoint in self.endpoints {
            methods.push(endpoint.method.as_str());
            if endpoint.method == Method::GET {
                methods.push("HEAD");
            }
        }
        methods.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_found_under_its_own_template_and_method() {
        let routes = Routes::new();
        for endpoint in &ENDPOINTS {
            let path = endpoint.template.replace("{mch_id}", "1900000109").replace("{out_trade_no}", "T%7C1");
            let found = routes.find(&path).unwrap();
            assert_eq!(found.template(), endpoint.template);
            assert_eq!(found.endpoint(&endpoint.method).unwrap().operation, endpoint.operation);
            if endpoint.template.contains("{out_trade_no}") {
                assert_eq!(found.params["out_trade_no"], "T|1", "decoded");
            }
        }
        assert!(routes.find("/v1/orders/1/2/3").is_none());
    }

    #[test]
    fn another_method_is_told_which_ones_there_are() {
        let routes = Routes::new();
        let refused = routes.find("/v1/dead/x").unwrap().endpoint(&Method::PATCH);
        assert!(matches!(refused, Err(Error::Method { allow }) if allow == "GET, HEAD, DELETE"));
    }
}
