//! End to end: real servers, real drivers, a real sqluice between them, on both engines.

mod harness;

#[test]
fn direct_logins_work() {
    use harness::*;
    for flavour in ALL_FLAVOURS {
        let server = Server::shared(flavour);
        for (user, password) in [
            ("app", "app"),
            ("empty", ""),
            (
                "longish",
                "a pässword of more than twenty bytes, with spaces",
            ),
        ] {
            let mut client = Client::login(server.address, &Account::new(user, password)).unwrap();
            let v = client.value("SELECT CURRENT_USER()");
            println!("{flavour:?} {user} {:?} {}", client.exchange, v);
        }
        let mut c = server.direct();
        println!(
            "{:?}",
            c.rows("SELECT @@version, @@port; SELECT 1,NULL; SELECT repeat('x', 300)")
        );
        println!(
            "{:?}",
            c.change_user(&Account::new("other", "other").database("test"))
        );
        let v = c.value("SELECT CURRENT_USER()");
        println!("{:?} {:?}", c.exchange, v);
        println!("{}", server.root("SELECT 1"));
    }
}
