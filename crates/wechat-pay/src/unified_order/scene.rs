//! `scene_info`: where an order is placed, as the JSON that WeChat wants in it.
//!
//! Knows nothing of orders. Empty parts of a scene are found by [`super::UnifiedOrder::check`].

use serde_json::json;

/// Where an MWEB order is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum H5Scene {
    Wap { wap_url: String, wap_name: String },
    Ios { app_name: String, bundle_id: String },
    Android { app_name: String, package_name: String },
}

/// The shop where an order is placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    pub id: String,
    pub name: String,
    pub area_code: String,
    pub address: String,
}

impl H5Scene {
    pub(super) fn is_whole(&self) -> bool {
        let (Self::Wap { wap_url: first, wap_name: second }
        | Self::Ios { app_name: first, bundle_id: second }
        | Self::Android { app_name: first, package_name: second }) = self;
        !first.trim().is_empty() && !second.trim().is_empty()
    }

    pub(super) fn to_json(&self) -> String {
        let info = match self {
            Self::Wap { wap_url, wap_name } => {
                json!({"type": "Wap", "wap_url": wap_url, "wap_name": wap_name})
            }
            Self::Ios { app_name, bundle_id } => {
                json!({"type": "IOS", "app_name": app_name, "bundle_id": bundle_id})
            }
            Self::Android { app_name, package_name } => {
                json!({"type": "Android", "app_name": app_name, "package_name": package_name})
            }
        };
        json!({ "h5_info": info }).to_string()
    }
}

impl Store {
    pub(super) fn to_json(&self) -> String {
        let Self { id, name, area_code, address } = self;
        json!({"store_info": {"id": id, "name": name, "area_code": area_code, "address": address}})
            .to_string()
    }
}
