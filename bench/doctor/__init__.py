"""The doctor's grades: labelled scenarios of the lab, and how its verdicts compare with their facts."""
