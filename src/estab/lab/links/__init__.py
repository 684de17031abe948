"""Links, one direction at a time: stages that frames pass, firewalls, and weather without chance."""
