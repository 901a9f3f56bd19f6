//! Turns due times into checks
