//! `paybell order place` and `order close`: the shop's own demands, from a terminal. What the payer's device needs is
//! printed as it came; a QR code's content stands on a line of its own.

use clap::{Args, ValueEnum};
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    asking::{AskArgs, given},
    order::Key,
    rows::{card, cell},
};
use crate::{error::Error, output};

#[derive(Debug, Args)]
pub struct Place {
    #[command(flatten)]
    key: Key,
    /// How the payer pays
    #[arg(long, value_name = "TYPE", ignore_case = true)]
    trade_type: TradeType,
    /// The amount in fen
    #[arg(long, value_name = "FEN")]
    total_fee: u64,
    /// Shown to the payer; at most 128 bytes
    #[arg(long, value_name = "TEXT")]
    body: String,
    /// JSAPI, MINIPROGRAM: the payer's openid under the order's appid
    #[arg(long, value_name = "OPENID")]
    openid: Option<String>,
    /// The same under --sub-appid
    #[arg(long, value_name = "OPENID")]
    sub_openid: Option<String>,
    /// APP, MWEB: the payer's public address
    #[arg(long, value_name = "IP")]
    payer_ip: Option<String>,
    /// MWEB: the address of the web site on which the payer orders
    #[arg(long, value_name = "URL", requires = "wap_name")]
    wap_url: Option<String>,
    /// MWEB: its name
    #[arg(long, value_name = "TEXT", requires = "wap_url")]
    wap_name: Option<String>,
    /// MWEB: where the payer comes back to
    #[arg(long, value_name = "URL")]
    redirect_url: Option<String>,
    /// NATIVE: your number of the product [default: the order's number]
    #[arg(long, value_name = "ID")]
    product_id: Option<String>,
    /// Your own order, which several numbers may pay
    #[arg(long, value_name = "NUMBER")]
    business_no: Option<String>,
    /// The app [default: the merchant's first]
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Service providers: the merchant who is paid
    #[arg(long, value_name = "MCH_ID")]
    sub_mch_id: Option<String>,
    /// Service providers: that merchant's app
    #[arg(long, value_name = "APPID")]
    sub_appid: Option<String>,
    /// The currency [default: CNY]
    #[arg(long, value_name = "CODE")]
    fee_type: Option<String>,
    /// When the order can no longer be paid, RFC 3339 with an offset
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Comes back with the payment
    #[arg(long, value_name = "TEXT")]
    attach: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum TradeType {
    /// A page in WeChat
    Jsapi,
    /// A mini program
    Miniprogram,
    /// A QR code
    Native,
    /// An app
    App,
    /// A browser outside WeChat
    Mweb,
}

#[derive(Debug, Args)]
pub struct Close {
    #[command(flatten)]
    key: Key,
    /// Wait until WeChat was asked again, for at most this long
    #[arg(long, value_name = "TIME", default_value = "5s")]
    wait: String,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

/// Has an order placed, and prints what the payer needs.
pub async fn place(args: Place) -> Result<(), Error> {
    let api = args.ask.api()?;
    let (status, placed) = api.change(Method::POST, &args.key.path("/place"), &args.body()).await?;
    if args.ask.json {
        return output::json(&placed);
    }
    let order = format!("{}/{}", args.key.mch_id, args.key.out_trade_no);
    let what = if status == StatusCode::CREATED { "placed" } else { "was placed so already" };
    output::line(&format!("{order} {what}: {} fen, {}", args.total_fee, cell(&placed, "trade_type")))?;
    let older = placed.get("closed").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for older in older.iter().filter_map(Value::as_str) {
        output::line(&format!("closed for it: {older}"))?;
    }
    output::line(&card(&placed, &[("prepay_id", "prepay_id"), ("good until", "good_until")]))?;
    let link = ["pay.code_url", "pay.mweb_url"].map(|path| cell(&placed, path)).into_iter();
    match link.into_iter().find(|link| link != "-") {
        Some(link) => output::line(&format!("\n{link}")),
        None => output::json(placed.get("pay").unwrap_or(&Value::Null)),
    }
}

impl Place {
    fn body(&self) -> Value {
        let mut body: Map<String, Value> = given(&[
            ("openid", &self.openid),
            ("sub_openid", &self.sub_openid),
            ("payer_ip", &self.payer_ip),
            ("redirect_url", &self.redirect_url),
            ("product_id", &self.product_id),
            ("business_no", &self.business_no),
            ("appid", &self.appid),
            ("sub_mch_id", &self.sub_mch_id),
            ("sub_appid", &self.sub_appid),
            ("fee_type", &self.fee_type),
            ("expires_at", &self.expires_at),
            ("attach", &self.attach),
        ]);
        let trade_type = self.trade_type.to_possible_value();
        let trade_type = trade_type.as_ref().map_or("", |value| value.get_name());
        body.insert("trade_type".to_owned(), json!(trade_type));
        body.insert("total_fee".to_owned(), json!(self.total_fee));
        body.insert("body".to_owned(), json!(self.body));
        if let (Some(wap_url), Some(wap_name)) = (&self.wap_url, &self.wap_name) {
            let scene = json!({ "type": "Wap", "wap_url": wap_url, "wap_name": wap_name });
            body.insert("scene".to_owned(), scene);
        }
        Value::Object(body)
    }
}

/// Has an order closed, and tells what became of it.
pub async fn close(args: Close) -> Result<(), Error> {
    let api = args.ask.api()?;
    let query = [("wait", Some(args.wait.as_str()))];
    // With a reason, even an empty one, it is a person who closes.
    let body = json!({ "reason": args.reason.unwrap_or_default() });
    let (_, closed) = api.change_with(&args.key.path("/close"), &query, &body).await?;
    if args.ask.json {
        return output::json(&closed);
    }
    let order = format!("{}/{}", args.key.mch_id, args.key.out_trade_no);
    let what = match cell(&closed, "closed").as_str() {
        "now" => "is closed at WeChat",
        "before" => "was closed already",
        _ => "is not known at WeChat: nothing can be paid",
    };
    output::line(&format!("{order} {what}; its state here: {}", cell(&closed, "order.state")))
}
