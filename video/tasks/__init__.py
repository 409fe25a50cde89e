"""What people use video analysis for, one file per use. Each stands on `nn` and `video.models`."""
