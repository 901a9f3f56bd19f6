//! A WeChat Pay v2 that runs on a laptop, with faults on demand
