//! Notifications to send: each with numbers of its own, signed before the measurement begins, about 900 bytes long
//! like WeChat's. A request is a copy of one template with three places filled in, so that making the load costs next to
//! nothing.

use std::{cell::Cell, net::SocketAddr, ops::Range};

use wechat_pay::sign::{Algorithm, ApiKey, sign};

use super::{API_KEY, APP_ID, MCH_ID};
use crate::error::Error;

const SIGN_BLANK: &str = "00000000000000000000000000000000";
const SIGN_LENGTH: usize = SIGN_BLANK.len();
/// The fee of every order, in fen.
pub const TOTAL_FEE: u64 = 1_999;

/// Requests for a server, in the order of their serial numbers, again from the first when all were sent.
pub struct Notifications {
    template: Vec<u8>,
    places: Places,
    signs: Vec<[u8; SIGN_LENGTH]>,
    next: Cell<usize>,
}

/// What differs between two requests.
struct Places {
    out_trade_no: Range<usize>,
    transaction_id: Range<usize>,
    sign: Range<usize>,
}

/// The number of an order.
pub fn out_trade_no(serial: usize) -> String {
    format!("BENCH{serial:015}")
}

/// The serial number in an order's number.
pub fn serial_of(out_trade_no: &str) -> Option<usize> {
    out_trade_no.strip_prefix("BENCH")?.parse().ok()
}

/// The number of its payment.
pub fn transaction_id(serial: usize) -> String {
    format!("4200{serial:024}")
}

impl Notifications {
    /// Signs `count` of them.
    pub fn sign(count: usize, server: SocketAddr) -> Result<Self, Error> {
        let key = ApiKey::new(API_KEY).map_err(|error| Error::Failed(error.to_string()))?;
        let sign_one = |serial| {
            let numbers = (out_trade_no(serial), transaction_id(serial));
            let signed = sign(fields((&numbers.0, &numbers.1)), &key, Algorithm::Md5);
            <[u8; SIGN_LENGTH]>::try_from(signed.as_bytes()).expect("an MD5 sign has 32 characters")
        };
        let numbers = (out_trade_no(0), transaction_id(0));
        let template = request(server, &body((&numbers.0, &numbers.1)));
        let place = |text: &str| {
            let start = find(&template, text.as_bytes()).expect("the template holds its own numbers");
            start..start + text.len()
        };
        let places = Places {
            out_trade_no: place(&numbers.0),
            transaction_id: place(&numbers.1),
            sign: place(SIGN_BLANK),
        };
        Ok(Self { template, places, signs: (0..count).map(sign_one).collect(), next: Cell::new(0) })
    }

    /// How many are distinct.
    pub fn count(&self) -> usize {
        self.signs.len()
    }

    /// Writes the next request into `buffer` and returns its serial number.
    pub fn next_into(&self, buffer: &mut Vec<u8>) -> usize {
        let serial = self.next.get();
        self.next.set((serial + 1) % self.count().max(1));
        self.write(serial, buffer);
        serial
    }

    /// Writes the request of this serial number into `buffer`.
    pub fn write(&self, serial: usize, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.template);
        let Places { out_trade_no, transaction_id, sign } = &self.places;
        fill_digits(buffer, out_trade_no, serial);
        fill_digits(buffer, transaction_id, serial);
        let signed = self.signs.get(serial % self.count().max(1));
        if let (Some(into), Some(signed)) = (buffer.get_mut(sign.clone()), signed) {
            into.copy_from_slice(signed);
        }
    }
}

/// The last digits of the place; those before are zeros or a mark already.
fn fill_digits(buffer: &mut [u8], place: &Range<usize>, mut number: usize) {
    let digits = buffer.get_mut(place.clone()).into_iter().flatten().rev();
    for digit in digits {
        if number == 0 {
            return;
        }
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

fn fields<'f>((out_trade_no, transaction_id): (&'f str, &'f str)) -> [(&'f str, &'f str); 17] {
    [
        ("appid", APP_ID),
        (
            "attach",
            "store=021;terminal=7;cashier=18;table=A12;campaign=autumn-2026;member=8600012345;channel=qr",
        ),
        ("bank_type", "OTHERS"),
        ("cash_fee", "1999"),
        ("fee_type", "CNY"),
        ("is_subscribe", "N"),
        ("mch_id", MCH_ID),
        ("nonce_str", "5d2b6c2a8db53831f7eda20af46e531c"),
        ("openid", "oUpF8uMEb4qRXf22hE3X68TekukE"),
        ("out_trade_no", out_trade_no),
        ("result_code", "SUCCESS"),
        ("return_code", "SUCCESS"),
        ("time_end", "20261120200003"),
        ("total_fee", "1999"),
        ("trade_type", "JSAPI"),
        ("transaction_id", transaction_id),
        ("sign", SIGN_BLANK),
    ]
}

fn body(numbers: (&str, &str)) -> String {
    let fields = fields(numbers);
    let text: Vec<String> = fields
        .iter()
        .map(|(name, value)| match name.ends_with("_fee") {
            true => format!("<{name}>{value}</{name}>"),
            false => format!("<{name}><![CDATA[{value}]]></{name}>"),
        })
        .collect();
    format!("<xml>{}</xml>", text.join("\n"))
}

fn request(server: SocketAddr, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /notify/pay HTTP/1.1\r\nHost: {server}\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use wechat_pay::{notification::Unverified, sign::AcceptedAlgorithm};

    use super::*;

    fn notifications() -> Notifications {
        Notifications::sign(12, "127.0.0.1:80".parse().unwrap()).unwrap()
    }

    #[test]
    fn every_request_is_authentic_and_differs() {
        let notifications = notifications();
        let key = ApiKey::new(API_KEY).unwrap();
        let mut buffer = Vec::new();
        for serial in 0..12 {
            assert_eq!(notifications.next_into(&mut buffer), serial);
            let start = find(&buffer, b"\r\n\r\n").unwrap() + 4;
            let body = &buffer[start..];
            assert!((850..=950).contains(&body.len()), "{}", body.len());
            let unverified = Unverified::parse(body).unwrap();
            let (authentic, _) = unverified.verify(&[&key], AcceptedAlgorithm::Only(Algorithm::Md5)).unwrap();
            let notification = authentic.into_notification().unwrap();
            assert_eq!(serial_of(notification.out_trade_no()), Some(serial));
            assert_eq!(notification.payment().unwrap().transaction_id, transaction_id(serial));
        }
        assert_eq!(notifications.next_into(&mut buffer), 0, "again from the first");
    }
}
