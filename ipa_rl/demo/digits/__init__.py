"""A pipeline of real models to serve: where on a canvas is the handwritten digit, and which one is it?"""
