//! Bugs between the clients and the log, put in on purpose: what the checkers
//! must find whatever log it is.

/// Which bug is planted, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tamper {
    /// None.
    #[default]
    None,
}
