//! Shards in words.

/// Shards that are named one by one.
const MOST_NAMED: usize = 12;

/// `shard 2 of 3`, `shards 1 and 3 of 3`, and of many the first.
#[must_use]
pub fn shards_in_words(shards: &[u32], of: u32) -> String {
    let named: Vec<String> = shards.iter().take(MOST_NAMED).map(u32::to_string).collect();
    let more = shards.len().saturating_sub(MOST_NAMED);
    let list = match (&named[..], more) {
        ([], _) => return format!("no shard of {of}"),
        ([one], 0) => return format!("shard {one} of {of}"),
        ([first @ .., last], 0) => format!("{} and {last}", first.join(", ")),
        (all, more) => format!("{} and {more} more", all.join(", ")),
    };
    format!("shards {list} of {of}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_and_of_many_the_first() {
        for (shards, words) in [
            (&[][..], "no shard of 3"),
            (&[2], "shard 2 of 3"),
            (&[1, 3], "shards 1 and 3 of 3"),
            (&[1, 2, 3], "shards 1, 2 and 3 of 3"),
        ] {
            assert_eq!(shards_in_words(shards, 3), words);
        }
        let many: Vec<u32> = (1..=40).collect();
        assert_eq!(
            shards_in_words(&many, 64),
            "shards 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 28 more of 64"
        );
    }
}
