"""Pictures: fetched, told by their headers, made fit to be stored, drawn.

`fetching` brings many at once, `photo_headers` tells what they are before they are decoded, `photographs` keeps or
changes them; `number_pictures` and `heat_pictures` make some.
"""
