//! Panics within a seed: caught, and not printed.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does something on this thread. A panic is the error, in words that say where
/// it was; those that are caught further in are not printed either, because the
/// world writes them down as what they are.
pub(crate) fn quietly<T>(does: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if IS_QUIET.get() {
                let text = info.to_string().replace('\n', " ");
                LAST.with_borrow_mut(|last| *last = Some(text));
            } else {
                before(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(does));
    IS_QUIET.set(false);
    outcome.map_err(|_| {
        LAST.with_borrow_mut(Option::take).unwrap_or_else(|| "a panic without a message".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_where_it_was() {
        let error = quietly(|| panic!("nobody is at home")).unwrap_err();
        assert!(error.contains("nobody is at home"), "{error}");
        assert!(error.contains("silence.rs"), "{error}");
        assert_eq!(quietly(|| 7), Ok(7));
    }
}
