"""Synthetic people: anny's body model in postures that photo collections lack, with exact COCO-17 keypoints and boxes."""
