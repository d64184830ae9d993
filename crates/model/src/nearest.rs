/// The known name most like a wrong one, if one is like it at all.
///
/// Without regard to case: Damerau-Levenshtein distance of at most a third of the longer name, or the beginning of one (at
/// least three letters); the least distance wins, ties go to the first.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > 80 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
    let near = |name: &&str| {
        let longer = wrong.chars().count().max(name.chars().count());
        distance(name) * 3 <= longer
            || (wrong.len() >= 3 && name.to_lowercase().starts_with(&wrong))
    };
    known
        .into_iter()
        .filter(near)
        .min_by_key(|name| distance(name))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_far() {
        let known = ["instances", "memory", "needs"];
        assert_eq!(nearest("instance", known), Some("instances"));
        assert_eq!(nearest("nedes", known), Some("needs"));
        assert_eq!(nearest("mem", known), Some("memory"));
        assert_eq!(nearest("sigint", ["SIGTERM", "SIGINT"]), Some("SIGINT"));
        assert_eq!(nearest("zzz", known), None);
    }
}
