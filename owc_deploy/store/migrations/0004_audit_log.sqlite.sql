CREATE TRIGGER audit_log_is_not_updated BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only added to');
END;

CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only added to');
END;

-- INSERT OR REPLACE deletes without the trigger above; so every number is given once, in order.
CREATE TRIGGER audit_log_has_no_gaps BEFORE INSERT ON audit_log
WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM audit_log)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only added to');
END;
