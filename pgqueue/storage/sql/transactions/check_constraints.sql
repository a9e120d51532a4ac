-- Lets deferred constraints speak now, as errors of the body that broke them: at the commit it would be too late to
-- retry its message for that.
SET CONSTRAINTS ALL IMMEDIATE
