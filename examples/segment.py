"""Segments a scan: python3 segment.py brain.plan t1.nii.gz t1.seg.nii.gz"""
import sys

import nibabel
import vnet

plan, scan, labels = sys.argv[1:]
with vnet.open(plan) as model:
    result = model.segment(nibabel.load(scan), largest_component=True)
for name, ml in result.volumes_ml.items():
    print(f"{name}: {ml:.1f} ml")
nibabel.save(result.to_nibabel(), labels)
