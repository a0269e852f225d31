CREATE FUNCTION audit_log_is_only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only added to';
END $$;

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_only_added_to();

CREATE FUNCTION audit_log_has_no_gaps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM audit_log) THEN
        RAISE EXCEPTION 'the audit log is only added to';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_log_has_no_gaps BEFORE INSERT ON audit_log
FOR EACH ROW EXECUTE FUNCTION audit_log_has_no_gaps();
