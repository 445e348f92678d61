"""Pictures of patients: CT, contours, errors, surfaces."""
