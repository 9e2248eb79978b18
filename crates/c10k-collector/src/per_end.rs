//! What there is of each end of a run.

/// One of something for the server's end, and one for the clients' where they stand elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerEnd<T> {
    /// Where the server stands.
    pub server: T,
    /// Where the clients stand; `None` where that is the server's place.
    pub client: Option<T>,
}

impl<T> PerEnd<T> {
    /// Both ends stand in one place.
    pub fn one(place: T) -> Self {
        Self { server: place, client: None }
    }

    /// That of the clients' end.
    pub fn client(&self) -> &T {
        self.client.as_ref().unwrap_or(&self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_stands_in_the_servers_place_has_what_the_server_has() {
        assert_eq!(PerEnd::one(7).client(), &7);
        assert_eq!(PerEnd { server: 7, client: Some(8) }.client(), &8);
    }
}
