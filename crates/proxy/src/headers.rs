//! Which headers go on: all but those of one connection. Values are kept as they came, order and repeats too.

use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};

const OF_ONE_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Towards WeChat. `Host` follows from the base URL; `Expect: 100-continue` was answered here.
pub(crate) fn for_wechat(mut headers: HeaderMap) -> HeaderMap {
    strip(&mut headers);
    headers.remove(HOST);
    headers.remove(EXPECT);
    headers
}

/// Towards the shop.
pub(crate) fn for_shop(mut headers: HeaderMap) -> HeaderMap {
    strip(&mut headers);
    headers
}

fn strip(headers: &mut HeaderMap) {
    // A length beside a transfer coding is somebody's attempt to have two readers disagree.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Framing is not the peer's to take away.
        .filter(|name| *name != CONTENT_LENGTH)
        .collect();
    for name in OF_ONE_CONNECTION.iter().chain(&named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_headers_of_the_whole_way_go_on() {
        let came = map(&[
            ("host", "127.0.0.1:8090"),
            ("connection", "close, X-Hop"),
            ("connection", "content-length"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("content-length", "7"),
            ("content-type", "text/xml"),
            ("accept-encoding", "gzip"),
            ("cookie", "a"),
            ("cookie", "b"),
        ]);
        let kept = [
            ("content-length", "7"),
            ("content-type", "text/xml"),
            ("accept-encoding", "gzip"),
            ("cookie", "a"),
            ("cookie", "b"),
        ];
        assert_eq!(for_wechat(came), map(&kept));
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_dropped() {
        let came = map(&[("transfer-encoding", "chunked"), ("content-length", "7"), ("date", "x")]);
        assert_eq!(for_shop(came), map(&[("date", "x")]));
    }
}
