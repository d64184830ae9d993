//! Texts that have a form: each is read, and written in the one way that makes equal values equal.

use std::{fmt::Write as _, net::IpAddr};

/// Why a text is not of a form: what to write instead, where that is known.
pub(crate) type Wrong = String;

/// `10.0.0.7`, `2001:db8::1`.
pub(crate) fn address(text: &str) -> Result<String, Wrong> {
    let address: IpAddr = text.parse().map_err(|_| match text.split_once('/') {
        Some((address, _)) => format!("write {address}, without the length"),
        None => Wrong::new(),
    })?;
    Ok(address.to_canonical().to_string())
}

/// `10.0.0.0/8`, `2001:db8::/32`; without host bits.
pub(crate) fn prefix(text: &str) -> Result<String, Wrong> {
    let (address, length) = text
        .split_once('/')
        .ok_or_else(|| format!("write {text}/LENGTH"))?;
    let address: IpAddr = address.parse().map_err(|_| Wrong::new())?;
    let length: u32 = length.parse().map_err(|_| Wrong::new())?;
    let network = match address {
        IpAddr::V4(v4) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
        IpAddr::V4(_) => return Err("an IPv4 network has a length of at most 32".to_owned()),
        IpAddr::V6(_) => return Err("an IPv6 network has a length of at most 128".to_owned()),
    };
    if network == address {
        Ok(format!("{network}/{length}"))
    } else {
        Err(format!(
            "the address has bits beyond its length; the network is {network}/{length}"
        ))
    }
}

/// `aa:bb:cc:dd:ee:ff` from any usual way of writing it (EUI-48, EUI-64).
pub(crate) fn mac(text: &str) -> Result<String, Wrong> {
    let separators = |c: char| matches!(c, ':' | '-' | '.');
    let groups: Vec<&str> = text.split(separators).collect();
    let even = groups.iter().all(|group| group.len() == groups[0].len());
    let digits: String = groups.concat().to_ascii_lowercase();
    let known = matches!(digits.len(), 12 | 16) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !known || !even {
        return Err(Wrong::new());
    }
    let mut out = String::with_capacity(digits.len() * 3 / 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 2 == 0 {
            out.push(':');
        }
        out.push(digit);
    }
    Ok(out)
}

/// `https://example.com/path`: scheme and host in lower case (RFC 3986, 6.2.2.1).
pub(crate) fn url(text: &str) -> Result<String, Wrong> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| "write it with its scheme, such as https://example.com".to_owned())?;
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let named = scheme
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let printable = rest.chars().all(|c| !c.is_whitespace() && !c.is_control());
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !begins || !named || !printable || authority.is_empty() {
        return Err(Wrong::new());
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let mut out = format!("{}://", scheme.to_ascii_lowercase());
    if let Some(user) = user {
        // A text cannot refuse to be written to.
        let _ = write!(out, "{user}@");
    }
    out.push_str(&host.to_ascii_lowercase());
    out.push_str(path);
    Ok(out)
}

/// `anna@example.com`: the domain in lower case.
pub(crate) fn email(text: &str) -> Result<String, Wrong> {
    let (local, domain) = text.rsplit_once('@').ok_or_else(Wrong::new)?;
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = (1..=64).contains(&local.len())
        && local.chars().all(plain)
        && domain.len() <= 255
        && domain.split('.').all(label);
    if good {
        Ok(format!("{local}@{}", domain.to_lowercase()))
    } else {
        Err(Wrong::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Form = fn(&str) -> Result<String, Wrong>;

    #[test]
    fn each_form_has_one_way_of_writing_a_value() {
        let cases: [(Form, &str, &str); 12] = [
            (address, "2001:DB8:0::1", "2001:db8::1"),
            (address, "::ffff:10.0.0.7", "10.0.0.7"),
            (prefix, "10.0.0.0/8", "10.0.0.0/8"),
            (prefix, "0.0.0.0/0", "0.0.0.0/0"),
            (prefix, "2001:DB8::/32", "2001:db8::/32"),
            (mac, "AA-BB-CC-00-11-22", "aa:bb:cc:00:11:22"),
            (mac, "aabb.cc00.1122", "aa:bb:cc:00:11:22"),
            (mac, "AABBCC001122", "aa:bb:cc:00:11:22"),
            (mac, "00:11:22:33:44:55:66:77", "00:11:22:33:44:55:66:77"),
            (
                url,
                "HTTPS://Example.COM/Path?q=A",
                "https://example.com/Path?q=A",
            ),
            (url, "ssh://Git@HOST:22", "ssh://Git@host:22"),
            (email, "Anna@Example.COM", "Anna@example.com"),
        ];
        for (form, text, wanted) in cases {
            assert_eq!(form(text).as_deref(), Ok(wanted), "{text}");
            assert_eq!(form(wanted).as_deref(), Ok(wanted), "{text}: written twice");
        }
    }

    #[test]
    fn what_has_not_the_form_is_refused() {
        let cases: [(Form, &[&str]); 5] = [
            (address, &["", "10.0.0", "10.0.0.7/24", "h1", "10.0.0.256"]),
            (
                prefix,
                &[
                    "",
                    "10.0.0.0",
                    "10.0.0.0/33",
                    "10.0.0.0/-1",
                    "::/129",
                    "x/8",
                ],
            ),
            (
                mac,
                &[
                    "",
                    "aa:bb",
                    "aa:bb:cc:dd:ee:fg",
                    "aab:bcc:001:12",
                    "aa:bbcc:00:11:22",
                ],
            ),
            (
                url,
                &[
                    "",
                    "example.com",
                    "://x",
                    "http://",
                    "http://a b",
                    "1http://x",
                ],
            ),
            (
                email,
                &[
                    "",
                    "anna",
                    "@x",
                    "anna@",
                    "an na@x.y",
                    "anna@-x.y",
                    "anna@x..y",
                ],
            ),
        ];
        for (form, texts) in cases {
            for text in texts {
                assert!(form(text).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn a_prefix_with_host_bits_is_told_its_network() {
        let wrong = prefix("10.1.2.3/16").unwrap_err();
        assert!(wrong.contains("10.1.0.0/16"), "{wrong}");
    }
}
