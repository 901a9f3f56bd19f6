//! WeChat Pay API v2 (XML): documents, signatures, notifications, queries, and a client
