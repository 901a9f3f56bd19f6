//! One accept loop for every listener: limits, time-outs, TLS, drain
