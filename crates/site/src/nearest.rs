/// The known name most like a wrong one, if one is like it at all.
///
/// Damerau-Levenshtein distance of at most a third of the longer name; ties go to the first.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), name);
    let near = |name: &&str| distance(name) * 3 <= wrong.chars().count().max(name.chars().count());
    let cut: String = wrong.chars().take(80).collect();
    if cut.len() < wrong.len() {
        return None;
    }
    known
        .into_iter()
        .filter(near)
        .min_by_key(|name| distance(name))
}
