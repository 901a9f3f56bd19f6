//! Takes a notification, verifies it, stores a check durably, answers WeChat
