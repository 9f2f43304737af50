use super::SessionId;

#[test]
fn a_session_id_tells_its_worker_and_is_not_a_servers_own() {
    let id = SessionId::new(7, 123);
    assert_eq!(id.worker(), 7);
    assert_eq!(SessionId::from_kill(u64::from(id.0)), Some(id));
    assert_eq!(SessionId::from_kill(123), None);
    assert_eq!(SessionId::from_kill(u64::from(id.0) << 8), None);
    assert_ne!(SessionId::new(7, 124), id);
}
