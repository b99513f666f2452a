"""What every group of benchmarks shares; it knows no single benchmark."""
