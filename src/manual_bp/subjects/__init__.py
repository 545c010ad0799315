"""What people hand over to be judged, in any form and convention, and how it is read."""
