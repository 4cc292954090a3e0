"""The pages for people: pure functions from what the node knows to HTML, in Chinese and English.

Nothing here knows stores or HTTP.
"""
