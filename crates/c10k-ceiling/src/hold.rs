//! What a run cannot show since it held for no longer.

use c10k_record::Warning;

use crate::plan_view::PlanView;

/// Idle limits that many meet, seconds: 60 of nginx (`proxy_read_timeout`) and of balancers of HTTP, 240 and 350 of those of
/// TCP and of NAT gateways, 600 of others, 7,440 that RFC 5382 asks of NAT (REQ-5).
const COMMON_SECS: [u64; 5] = [60, 240, 350, 600, 7_440];
/// So many of them are told.
const TOLD: usize = 3;

/// Which idle limits a hold of that length meets none of, with the flag that shows the next one; `None` where the length is
/// not known, or is longer than all that are common.
///
/// A server, a proxy or a box on the way that ends what was silent for a minute is met by no hold of ten seconds: that the run
/// holds all says nothing of it.
#[must_use]
pub fn hold_cannot_show(plan: &PlanView) -> Option<Warning> {
    let hold_ms = plan.hold_ms?;
    let longer: Vec<u64> =
        COMMON_SECS.into_iter().filter(|secs| secs * 1_000 >= hold_ms).take(TOLD).collect();
    let next = longer.first()?;
    let common: Vec<String> = longer.iter().map(|secs| format!("{secs} s")).collect();
    let hold = format!("{} s", hold_ms as f64 / 1e3);
    let enough = format!("{}s", next + next / 6);
    let text = format!(
        "a hold of {hold} cannot show idle limits above {hold} (common: {}); `{}` shows the next one",
        common.join(", "),
        plan.again_with(&[("--hold", &enough)])
    );
    Some(Warning::new("hold-is-short", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_says_which_idle_limits_it_meets_none_of_and_how_the_next_one_is_met() {
        let of = |hold_ms| {
            let again = ["c10k-lab", "run", "--hold", "10s"].map(str::to_owned).to_vec();
            hold_cannot_show(&PlanView { hold_ms, again, ..PlanView::default() }).map(|note| note.text)
        };
        let text = of(Some(10_000)).expect("it is short");
        assert!(
            text.starts_with(
                "a hold of 10 s cannot show idle limits above 10 s (common: 60 s, 240 s, 350 s)"
            )
        );
        assert!(text.contains("`c10k-lab run --hold 70s"), "{text}");
        assert!(of(Some(1_500)).expect("it is short").contains("a hold of 1.5 s"));
        assert!(of(Some(60_000)).expect("it ends with the limit").contains("(common: 60 s,"));
        assert!(of(Some(61_000)).expect("others are longer").contains("--hold 280s"));
        assert_eq!((of(Some(8_000_000)), of(None)), (None, None));
    }
}
